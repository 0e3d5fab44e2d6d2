"""Moving runs to another version: the rule, what is told, what is done, and that a moved run ends as it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.definitions.moves import AT_WORK, RUNS_AT_A_TIME, THERE_ALREADY
from crewmesh_workflow.definitions.moving import FAILING, JournalledStep, Layout, why_not
from crewmesh_workflow.engine.outcome import DriveInput

from services.workflow.tests.conftest import Bench
from services.workflow.tests.definitions_api import Api, definitions_api
from services.workflow.tests.test_control import ask
from services.workflow.tests.test_ends_that_wait import Bank
from services.workflow.tests.test_ends_that_wait import http as bank_http


@pytest.fixture
async def api(url: str) -> AsyncGenerator[Api]:
    async with definitions_api(url) as made:
        yield made


def branch(condition: str = "true", **more: JsonValue) -> JsonObject:
    return {"id": "branch", "kind": "if", "condition": condition, **more}


def http(id_: str, **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "http", "url": "https://example.com", **more}


def loop(*nodes: JsonValue, edges: JsonValue = None, **more: JsonValue) -> JsonObject:
    body: JsonObject = {"nodes": [*nodes], "edges": edges or [], "output": {}}
    return {"id": "loop", "kind": "for_each", "items": "{{ trigger.data }}", "body": body, **more}


def edge(from_: str, to: str, port: str = "out") -> JsonObject:
    return {"from": from_, "to": to, "port": port}


def graph(*nodes: JsonValue, edges: list[JsonValue] | None = None) -> Layout:
    return Layout(Definition.model_validate({"name": "w", "nodes": [*nodes], "edges": edges or []}))


def done(path: str, port: str = "out") -> JournalledStep:
    return JournalledStep(path, port, finished=True)


def begun(path: str) -> JournalledStep:
    return JournalledStep(path, None, finished=False)


OLD = graph(branch(), http("send"), http("last"), edges=[edge("branch", "send", "true"), edge("send", "last")])
STEPS = [done("branch", "true"), begun("send")]


class TestTheRule:
    def test_nothing_has_changed(self) -> None:
        assert why_not(OLD, OLD, STEPS) == ()
        assert why_not(OLD, OLD, []) == ()

    def test_what_is_to_come_may_change(self) -> None:
        """Another last step, one more after what has begun, one more beside it, other fields of what is finished."""
        new = graph(
            branch("false", name="Renamed"),
            http("send", name="Renamed"),
            http("other"),
            http("beside"),
            edges=[edge("branch", "send", "true"), edge("send", "other"), edge("branch", "beside", "true")],
        )
        assert why_not(OLD, new, STEPS) == ()

    @pytest.mark.parametrize(
        ("nodes", "edges", "steps", "reason"),
        [
            ([branch()], [], STEPS, "step send is not there any more"),
            (
                [branch(), {"id": "send", "kind": "fail", "message": "m"}],
                [edge("branch", "send", "true")],
                STEPS,
                "step send was of kind http and is of kind fail",
            ),
            (
                [branch(), http("send")],
                [edge("branch", "send", "false")],
                STEPS,
                "step send is reached by other edges",
            ),
            (
                [branch(), http("before"), http("send")],
                [edge("branch", "before", "true"), edge("before", "send")],
                STEPS,
                "step send is reached by other edges",
            ),
            (
                [branch(), http("send", retry={"attempts": 1})],
                [edge("branch", "send", "true")],
                STEPS,
                "step send is under way and has been changed",
            ),
            (
                [branch(), http("send")],
                [edge("branch", "send", "true")],
                [done("branch", "true"), done("send", "error")],
                "step send was left by port error, which is not there any more",
            ),
        ],
    )
    def test_what_has_happened_must_stand(
        self, nodes: list[JsonValue], edges: list[JsonValue], steps: list[JournalledStep], reason: str
    ) -> None:
        assert why_not(OLD, graph(*nodes, edges=edges), steps) == (reason,)

    def test_inside_of_loops(self) -> None:
        old = graph(loop(http("send")))
        steps = [begun("loop"), done("loop[0].send"), begun("loop[1].send")]
        assert why_not(old, graph(loop(http("send"), http("log"), edges=[edge("send", "log")])), steps) == ()
        assert why_not(old, graph(loop(http("send"), concurrency=2)), steps) == (
            "step loop is under way and has been changed",
        )
        assert why_not(old, graph(loop(http("mail"))), steps) == ("step loop.send is not there any more",)
        changed = loop(http("send"))
        assert isinstance(changed["body"], dict)
        changed["body"]["output"] = {"x": 1}
        assert why_not(old, graph(changed), steps) == ("step loop is under way and has been changed",)

    @pytest.mark.parametrize(
        ("concurrency", "rounds", "moves"), [(1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)]
    )
    def test_a_loop_gets_new_steps_only_in_its_first_rounds(
        self, concurrency: int, rounds: int, *, moves: bool
    ) -> None:
        old = graph(loop(http("send"), concurrency=concurrency))
        new = graph(loop(http("send"), http("log"), edges=[edge("send", "log")], concurrency=concurrency))
        steps = [done(f"loop[{index}].send") for index in range(rounds - 1)] + [begun(f"loop[{rounds - 1}].send")]
        reason = "step loop has rounds that are over, and there are new steps in it"
        assert why_not(old, new, [begun("loop"), *steps]) == (() if moves else (reason,))
        assert why_not(old, old, [begun("loop"), *steps]) == ()
        assert why_not(old, new, [done("loop"), *steps[:-1]]) == ()

    def test_all_reasons_are_told_once(self) -> None:
        new = graph(http("unrelated"))
        steps = [done("branch", "true"), *(begun(f"loop[{index}].send") for index in range(50))]
        assert len(why_not(OLD, new, steps)) == 2

    @pytest.mark.parametrize("path", ["send!undo", "!failure.tell"])
    def test_a_run_that_goes_back_stays(self, path: str) -> None:
        assert why_not(OLD, OLD, [*STEPS, begun(path)]) == (FAILING,)


async def two_versions(api: Api) -> str:
    id_ = await api.create(nodes=[branch(), http("send")], edges=[edge("branch", "send", "true")])
    nodes: list[JsonValue] = [branch(), http("send"), http("log")]
    await api.publish(id_, nodes=nodes, edges=[edge("branch", "send", "true"), edge("send", "log")])
    return id_


async def test_told_and_done(api: Api) -> None:
    id_ = await two_versions(api)
    steps = {"branch": "true", "send": None}
    moving = [await api.run(id_, 1, status, **steps) for status in ("waiting", "paused", "queued")]
    at_work = await api.run(id_, 1, "running", **steps)
    stuck = await api.run(id_, 1, "waiting", gone="out")
    failing = await api.run(id_, 1, "waiting", **steps)
    await api.execute("UPDATE runs SET failure = %s WHERE id = %s", {"type": "t"}, failing)
    await api.run(id_, 1, "completed", **steps)
    there = await api.run(id_, 2, "waiting", **steps)
    left = [
        {"run": at_work, "reasons": [AT_WORK]},
        {"run": stuck, "reasons": ["step gone is not there any more"]},
        {"run": failing, "reasons": [FAILING]},
    ]

    told = (await api.post(f"/{id_}/versions/1/migrate", {})).json()
    assert (told["from_version"], told["to_version"], told["dry_run"]) == (1, 2, True)
    assert (told["moved"], told["left"], told["next_cursor"]) == (moving, left, None)
    assert [await api.version_of(run) for run in moving] == [(1, 5)] * 3

    done_ = (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False}, idempotency_key="m")).json()
    assert (done_["moved"], done_["left"]) == (moving, left)
    assert [await api.version_of(run) for run in (*moving, at_work, stuck)] == [(2, 6)] * 3 + [(1, 5)] * 2
    for run in moving:
        assert await api.events(run) == [(6, "run.moved", {"from": 1, "to": 2, "by": api.who.subject})]
    again = await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False}, idempotency_key="m")
    assert again.json() == done_
    assert (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False})).json()["moved"] == []

    back = (await api.post(f"/{id_}/versions/2/migrate", {"to": 1, "dry_run": False, "runs": [there]})).json()
    assert back["moved"] == [there]
    same = (await api.post(f"/{id_}/versions/2/migrate", {"runs": [moving[0]]})).json()
    assert (same["moved"], same["left"]) == ([], [{"run": moving[0], "reasons": [THERE_ALREADY]}])


async def test_a_run_that_somebody_holds_is_left(api: Api) -> None:
    id_ = await two_versions(api)
    held, free = await api.run(id_, 1, "waiting"), await api.run(id_, 1, "waiting")
    async with api.database.system() as conn:
        await conn.execute("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", [held])
        moved = (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False})).json()
    assert (moved["moved"], moved["left"]) == ([free], [{"run": held, "reasons": [AT_WORK]}])


async def test_many_runs_in_several_answers(api: Api) -> None:
    id_ = await two_versions(api)
    await api.execute(
        "INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, epoch, seq)"
        " SELECT 'run_' || lpad(n::text, 32, '0'), %s, %s, 1, 'waiting', '{}', 1, 1 FROM generate_series(1, %s) n",
        ORGANIZATION,
        id_,
        RUNS_AT_A_TIME + 50,
    )
    first = (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False})).json()
    assert len(first["moved"]) == RUNS_AT_A_TIME
    rest = {"dry_run": False, "cursor": first["next_cursor"]}
    second = (await api.post(f"/{id_}/versions/1/migrate", rest)).json()
    assert (len(second["moved"]), second["next_cursor"]) == (50, None)
    assert (await api.get(f"/{id_}/versions")).json()["items"][0]["runs"]["waiting"] == RUNS_AT_A_TIME + 50


async def test_what_is_not_there(api: Api) -> None:
    id_ = await api.create()
    for version, body in ((9, {}), (1, {"to": 9})):
        answer = await api.post(f"/{id_}/versions/{version}/migrate", {**body})
        assert answer.json()["type"].endswith("/unknown-workflow-version")
    assert (await api.post(f"/{id_}/versions/1/migrate", {"cursor": "x"})).status_code == 400
    assert (await api.post("/nobody/versions/1/migrate", {})).status_code == 404


async def arrive(bench: Bench, run: str, path: str, data: JsonValue = None) -> None:
    """An event comes for the step that waits there, and a driver takes the run on."""
    async with bench.database.tenant(ORGANIZATION) as conn:
        event: JsonObject = {"type": "com.example.go", "data": data}
        assert await bench.parts.control.arrive(conn, run, path, {"event": event})
    row = await bench.row(run)
    await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))


WAIT: JsonObject = {"id": "wait", "kind": "wait_event", "type": "com.example.go"}


async def test_a_moved_run_goes_on_with_what_is_new(api: Api, bench: Bench) -> None:
    """It waits for an event, is moved, and does what only the new version does after it."""
    more: JsonObject = {"id": "more", "kind": "transform", "output": {"x": "{{ trigger.data.x }}"}}
    id_ = await api.create(nodes=[WAIT], output={"v": 1})
    run = await bench.start(id_, {"x": 7})
    await bench.settle()
    assert (await bench.row(run))["status"] == "waiting"

    output: JsonObject = {"v": 2, "x": "{{ steps.more.output.x }}"}
    published = await api.publish(id_, nodes=[WAIT, more], edges=[edge("wait", "more")], output=output)
    waiting: JsonObject = {"queued": 0, "running": 0, "waiting": 1, "paused": 0}
    assert published["waiting"] == [{"version": 1, "runs": waiting}]
    moved = (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False})).json()
    assert (moved["moved"], moved["left"]) == ([run], [])

    await arrive(bench, run, "wait")
    ended = await bench.row(run)
    assert (ended["status"], ended["workflow_version"], ended["output"]) == ("completed", 2, {"v": 2, "x": 7})
    types = [type_ for _, type_, _ in await bench.events(run)]
    assert types.index("run.moved") < types.index("run.completed")


def looping(before: list[JsonValue], behind: list[JsonValue], *, concurrency: int) -> JsonObject:
    """A loop over two things with a wait in it, and these steps one after the other around that."""
    nodes: list[JsonObject] = [node for node in (*before, WAIT, *behind) if isinstance(node, dict)]
    edges: JsonValue = [edge(str(one["id"]), str(other["id"])) for one, other in pairwise(nodes)]
    body: JsonObject = {"nodes": [*nodes], "edges": edges, "output": {"seen": "{{ steps.wait.output.event.data }}"}}
    each: JsonObject = {"id": "loop", "kind": "for_each", "items": [1, 2], "concurrency": concurrency, "body": body}
    return {"nodes": [each], "output": {"items": "{{ steps.loop.output.items }}"}}


async def test_a_run_is_moved_in_the_middle_of_a_loop(api: Api, bench: Bench) -> None:
    """The first of two rounds is over. Every round does what is new, none does anything twice."""
    id_ = await api.create(**looping([], [], concurrency=2))
    run = await bench.start(id_)
    await bench.settle()
    await arrive(bench, run, "loop[0].wait", "first")
    log: JsonObject = {"id": "log", "kind": "transform", "output": {"item": "{{ item }}"}}
    await api.publish(id_, **looping([], [log], concurrency=2))
    assert (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False})).json()["moved"] == [run]

    await arrive(bench, run, "loop[1].wait", "second")
    ended = await bench.row(run)
    assert ended["status"] == "completed"
    assert ended["output"] == {"items": [{"seen": "first"}, {"seen": "second"}]}
    completed = [node for _, type_, node in await bench.events(run) if type_ == "step.completed"]
    assert sorted(str(node) for node in completed) == [
        "loop",
        *(f"loop[{index}].{node}" for index in range(2) for node in ("log", "wait")),
    ]


async def test_rounds_that_are_over_do_not_hide_what_is_under_way_behind_them(api: Api, bench: Bench) -> None:
    """Were they to do what is new, the later one would not hear of what comes for it, and would not be undone."""
    bank = Bank(bench)
    reserve = bank_http("reserve", undo=True)
    id_ = await api.create(**looping([reserve], [], concurrency=1))
    run, other = await bench.start(id_), await bench.start(id_, event_id="e2")
    await bench.settle()
    for each in (run, other):
        await arrive(bench, each, "loop[0].wait", "first")
    await api.publish(id_, **looping([reserve], [bank_http("tell")], concurrency=1))
    told = (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False})).json()
    reason = "step loop has rounds that are over, and there are new steps in it"
    assert (told["moved"], told["left"]) == ([], [{"run": each, "reasons": [reason]} for each in (run, other)])

    await arrive(bench, run, "loop[1].wait", "second")
    assert (await bench.row(run))["status"] == "completed"
    assert await ask(bench, "cancel", other)
    row = await bench.row(other)
    await bench.parts.engine.advance(DriveInput(run=other, driver=row["driver"], epoch=row["epoch"]))
    assert (await bench.row(other))["status"] == "cancelled"
    assert bank.asked.count("undo-reserve") == 2


async def test_what_a_pause_kept_from_beginning_never_begins_in_a_moved_run_either(api: Api, bench: Bench) -> None:
    """It is moved while it is paused, and cancelled then."""
    bank = Bank(bench, held="first")
    nodes: list[JsonValue] = [bank_http("first"), bank_http("pay", "unsafe", undo=True)]
    edges: list[JsonValue] = [edge("first", "pay")]
    id_ = await api.create(nodes=nodes, edges=edges)
    run = await bench.start(id_)
    async with asyncio.timeout(60):
        await bank.begun.wait()
    assert await ask(bench, "pause", run)
    await bench.parts.leases.extend()
    bank.go.set()
    await bench.settle()
    assert (await bench.row(run))["status"] == "paused"

    await api.publish(id_, nodes=[*nodes, bank_http("last")], edges=[*edges, edge("pay", "last")])
    assert (await api.post(f"/{id_}/versions/1/migrate", {"dry_run": False})).json()["moved"] == [run]
    assert await ask(bench, "cancel", run)
    row = await bench.row(run)
    await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))
    assert ((await bench.row(run))["status"], bank.asked) == ("cancelled", ["first"])
