"""Runs that end while something is under way: what may leave something to undo comes to its end first."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.errors import GatewayTimeout, Problem
from crewmesh_testkit import polling
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.outcome import Done, DriveInput
from crewmesh_workflow.runs import repository as runs
from crewmesh_workflow.runs.logs import log_line
from crewmesh_workflow.runs.schemas import StoredEvent

from services.workflow.tests.conftest import Bench, replica
from services.workflow.tests.test_control import ask

LOST = GatewayTimeout("integration did not answer within 5 seconds.")
YES: JsonObject = {"approved": True, "data": None, "decisions": []}
AGREE: JsonObject = {"id": "agree", "kind": "approval", "title": "?"}


def http(id_: str, effect: str = "idempotent", *, undo: bool = False, **more: JsonValue) -> JsonObject:
    node: JsonObject = {"id": id_, "kind": "http", "url": f"https://bank.test/{id_}", "effect": effect, **more}
    return {**node, "compensate": {"do": http(f"undo-{id_}")}} if undo else node


class Bank:
    """What it is asked to do, in order. Steps that are ``held`` take until they are let go."""

    def __init__(self, bench: Bench, *, held: str = "") -> None:
        self.asked: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.problem: Problem | None = None
        self._held = held
        self.serve(bench)

    def serve(self, bench: Bench) -> None:
        bench.sidecar.answer(SEND_HTTP, self._answer)

    async def _answer(self, request: HttpSend) -> HttpReply:
        self.asked.append(request.url.rsplit("/", 1)[1])
        if self.asked[-1] == self._held:
            self.begun.set()
            await self.go.wait()
            if self.problem is not None:
                raise self.problem
        return HttpReply(status=200, headers={}, body="")


async def cancelled_while_under_way(bench: Bench, bank: Bank, *nodes: JsonValue) -> str:
    run = await bench.start(await bench.save(nodes))
    async with asyncio.timeout(60):
        await bank.begun.wait()
    assert await ask(bench, "cancel", run)
    bench.parts.leases.look()
    await bench.parts.leases.extend()
    await told(bench, run, "run.cancelling")
    return run


async def told(bench: Bench, run: str, event: str) -> None:
    async def there() -> bool:
        return event in [type_ for _, type_, _ in await bench.events(run)]

    await polling.until(there, seconds=60, what=f"{event} to be told", every=0.01)


async def go_on(bench: Bench, run: str, *, driver: int = 0) -> object:
    row = await bench.row(run)
    drive = DriveInput(run=run, driver=row["driver"] + driver, epoch=row["epoch"])
    return await bench.parts.engine.advance(drive)


async def taken_over(other: Bench, bank: Bank, run: str) -> None:
    """Another replica brings the run to its end, and asks for what is under way again."""
    bank.serve(other)
    asked = len(bank.asked)
    ending = asyncio.ensure_future(go_on(other, run, driver=1))

    async def asked_again() -> bool:
        return len(bank.asked) > asked

    await polling.until(asked_again, seconds=60, what="the step to be asked for again", every=0.01)
    bank.go.set()
    assert await ending == Done()


async def arrive(bench: Bench, run: str, path: str, data: JsonObject) -> None:
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.arrive(conn, run, path, data)


async def statuses(bench: Bench, run: str) -> dict[str, str]:
    return {path: row["status"] for path, row in (await bench.steps(run)).items()}


async def waits(bench: Bench, run: str) -> list[tuple[str, str]]:
    query = "SELECT path, kind FROM waits WHERE run_id = %(run)s AND status = 'open' ORDER BY path"
    return [(row["path"], row["kind"]) for row in await bench.database.statement(query, {"run": run})]


async def lines(bench: Bench, run: str) -> list[str]:
    async with bench.database.system() as conn:
        query = "SELECT seq, type, data, at FROM run_events WHERE run_id = %s ORDER BY seq"
        rows = await (await conn.execute(query, [run])).fetchall()
    return [log_line(StoredEvent.model_validate(row)).text for row in rows]


class TestWhatIsUnderWay:
    @pytest.mark.parametrize(
        ("pay", "undone"),
        [
            pytest.param(http("pay", "idempotent", undo=True), True, id="it has a compensation"),
            pytest.param(http("pay", "unsafe", undo=True), True, id="unsafe, with a compensation"),
            pytest.param(http("pay", "unsafe"), False, id="unsafe"),
        ],
    )
    async def test_is_let_come_to_its_end_and_undone(self, bench: Bench, pay: JsonObject, undone: bool) -> None:
        bank = Bank(bench, held="pay")
        run = await cancelled_while_under_way(bench, bank, pay)
        awaited = "the run is being cancelled; what was done is undone first, when it is known what came of pay"
        assert awaited in await lines(bench, run)
        bank.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "cancelled"
        assert (await statuses(bench, run))["pay"] == "completed"
        assert bank.asked == (["pay", "undo-pay"] if undone else ["pay"])

    async def test_an_idempotent_step_that_fails_then_is_not_tried_again(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        bank.problem = LOST
        run = await cancelled_while_under_way(bench, bank, http("pay", undo=True, retry={"attempts": 3}))
        bank.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "cancelled"
        assert (await statuses(bench, run))["pay"] == "failed"
        assert bank.asked == ["pay"]

    async def test_people_are_asked_where_nobody_knows_what_came_of_it(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        bank.problem = LOST
        run = await cancelled_while_under_way(bench, bank, http("pay", "unsafe", undo=True, retry={"attempts": 3}))
        bank.go.set()
        await bench.settle()
        assert await waits(bench, run) == [("pay", "outcome")]
        await arrive(bench, run, "pay", {"happened": True, "output": {"status": 200}})
        assert await go_on(bench, run) == Done()
        assert (await bench.row(run))["status"] == "cancelled"
        assert bank.asked == ["pay", "undo-pay"]

    async def test_the_next_attempt_of_a_step_is_not_made(self, bench: Bench) -> None:
        retry: JsonObject = {"attempts": 3, "backoff_seconds": 3_600, "longest_seconds": 3_600, "jitter": 0}
        bank = Bank(bench, held="pay")
        bank.problem = LOST
        run = await bench.start(await bench.save([http("pay", "unsafe", undo=True, retry=retry)]))
        bank.go.set()
        await bench.settle()
        assert await ask(bench, "cancel", run)
        await go_on(bench, run)
        assert (bank.asked, await waits(bench, run)) == (["pay"], [("pay", "outcome")])

    async def test_another_replica_finds_out_what_came_of_it(self, url: str, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        run = await cancelled_while_under_way(bench, bank, http("pay", undo=True))
        async with replica(url) as other:
            await taken_over(other, bank, run)
        assert (await statuses(bench, run)) == {"pay": "completed", "pay!undo": "completed"}
        assert (await bench.row(run))["status"] == "cancelled"

    async def test_the_time_of_the_run_is_over(self, url: str, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        run = await bench.start(await bench.save([http("pay", undo=True)], settings={"timeout_seconds": 3_600}))
        async with asyncio.timeout(60):
            await bank.begun.wait()
        async with bench.database.system() as conn:
            await conn.execute("UPDATE runs SET deadline_at = now() WHERE id = %s", [run])
        async with replica(url) as other:
            await taken_over(other, bank, run)
        row = await bench.row(run)
        assert (row["status"], row["error"]["type"]) == ("failed", "run-timed-out")
        assert bank.asked == ["pay", "pay", "undo-pay"]

    async def test_a_round_that_fails_waits_for_it_too(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        body: JsonObject = {
            "nodes": [http("pay", "unsafe", undo=True), http("ask"), {"id": "no", "kind": "fail", "message": "no"}],
            "edges": [{"from": "ask", "to": "no"}],
        }
        run = await bench.start(await bench.save([{"id": "l", "kind": "for_each", "items": [1], "body": body}]))
        await told(bench, run, "step.failed")
        bank.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "failed"
        assert bank.asked[-1] == "undo-pay"

    async def test_a_round_that_fails_does_not_wait_for_the_next_attempt(self, bench: Bench) -> None:
        retry: JsonObject = {"attempts": 3, "backoff_seconds": 3_600, "longest_seconds": 3_600, "jitter": 0}
        bank = Bank(bench, held="pay")
        bank.problem = LOST
        bank.go.set()
        body: JsonObject = {
            "nodes": [http("pay", undo=True, retry=retry), AGREE, {"id": "no", "kind": "fail", "message": "no"}],
            "edges": [{"from": "agree", "port": "approved", "to": "no"}],
        }
        run = await bench.start(await bench.save([{"id": "l", "kind": "for_each", "items": [1], "body": body}]))
        await bench.settle()
        await arrive(bench, run, "l[0].agree", YES)
        assert await go_on(bench, run) == Done()
        assert ((await bench.row(run))["status"], bank.asked) == ("failed", ["pay"])

    async def test_what_a_pause_kept_from_beginning_never_begins(self, bench: Bench) -> None:
        bank = Bank(bench, held="first")
        nodes = [http("first"), http("pay", "unsafe", undo=True)]
        run = await bench.start(await bench.save(nodes, [{"from": "first", "to": "pay"}]))
        async with asyncio.timeout(60):
            await bank.begun.wait()
        await ask(bench, "pause", run)
        bench.parts.leases.look()
        await bench.parts.leases.extend()
        bank.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "paused"
        assert await ask(bench, "cancel", run)
        assert await go_on(bench, run, driver=1) == Done()
        assert await statuses(bench, run) == {"first": "completed", "pay": "cancelled"}
        assert bank.asked == ["first"]


class TestWhatHasArrived:
    """It was acknowledged, so it counts, also when the run is cancelled before anybody has looked."""

    @pytest.mark.parametrize("end", ["cancel", "time"])
    async def test_counts(self, bench: Bench, end: str) -> None:
        bank = Bank(bench)
        nodes: list[JsonValue] = [AGREE, http("then")]
        ways: list[JsonValue] = [{"from": "agree", "port": "approved", "to": "then"}]
        run = await bench.start(await bench.save(nodes, ways, settings={"timeout_seconds": 3_600}))
        await bench.settle()
        await arrive(bench, run, "agree", YES)
        if end == "cancel":
            assert await ask(bench, "cancel", run)
        else:
            async with bench.database.system() as conn:
                await conn.execute("UPDATE runs SET deadline_at = now() WHERE id = %s", [run])
        assert await go_on(bench, run) == Done()
        assert await statuses(bench, run) == {"agree": "completed"}
        assert (await bench.row(run))["status"] == ("cancelled" if end == "cancel" else "failed")
        assert bank.asked == []

    async def test_a_yes_to_an_action_does_not_begin_it_any_more(self, bench: Bench) -> None:
        bank = Bank(bench)
        run = await bench.start(await bench.save([http("pay", approval="always")]))
        await bench.settle()
        await arrive(bench, run, "pay", YES)
        assert await ask(bench, "cancel", run)
        assert await go_on(bench, run) == Done()
        assert await statuses(bench, run) == {"pay": "cancelled"}
        assert bank.asked == []

    async def test_what_happened_is_undone(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        bank.problem = LOST
        bank.go.set()
        run = await bench.start(await bench.save([http("pay", "unsafe", undo=True, retry={"attempts": 1})]))
        await bench.settle()
        assert await ask(bench, "pause", run)
        await arrive(bench, run, "pay", {"happened": True, "output": {"status": 200}})
        assert await ask(bench, "cancel", run)
        assert await go_on(bench, run) == Done()
        assert (await bench.row(run))["status"] == "cancelled"
        assert bank.asked == ["pay", "undo-pay"]


class TestWhatItIsAbout:
    async def test_who_is_asked_about_a_compensation_is_told_what_it_is(self, bench: Bench) -> None:
        Bank(bench)
        settings: JsonObject = {
            "mode": "human_in_the_loop",
            "approval_rules": [{"when": "node.id == 'undo-a'", "assignees": ["role:undoers"]}],
        }
        undo: JsonObject = {"do": http("undo-a")}
        nodes: list[JsonValue] = [
            http("a", approval="never", compensate=undo),
            {"id": "no", "kind": "fail", "message": "no"},
        ]
        run = await bench.start(await bench.save(nodes, [{"from": "a", "to": "no"}], settings=settings))
        await bench.settle()
        rows = await bench.database.statement("SELECT path, request FROM waits WHERE run_id = %(run)s", {"run": run})
        [(path, request)] = [(row["path"], row["request"]) for row in rows]
        assert (path, request["title"]) == ("a!undo", "May undo-a be done, which undoes a?")
        assert (request["node"], request["assignees"]) == ("undo-a", ["role:undoers"])

    async def test_a_run_tells_which_step_of_a_loop_made_it_fail(self, bench: Bench) -> None:
        boom: JsonObject = {"id": "boom", "kind": "fail", "message": "no"}
        inner: JsonObject = {"id": "inner", "kind": "for_each", "items": [1], "body": {"nodes": [boom]}}
        loop: JsonObject = {"id": "l", "kind": "for_each", "items": [1], "body": {"nodes": [inner]}}
        run = await bench.start(await bench.save([loop]))
        await bench.settle()
        assert (await bench.row(run))["error"]["node"] == "l[0].inner[0].boom"

    async def test_a_failure_handler_is_told_what_was_not_undone(self, bench: Bench) -> None:
        bank = Bank(bench, held="undo-a")
        bank.problem = LOST
        bank.go.set()
        undo: JsonObject = {"do": http("undo-a", retry={"attempts": 1})}
        nodes: list[JsonValue] = [http("a", compensate=undo), {"id": "no", "kind": "fail", "message": "no"}]
        told: JsonObject = {"id": "tell", "kind": "transform", "output": {"left": "{{ error.not_undone }}"}}
        ways: list[JsonValue] = [{"from": "a", "to": "no"}]
        run = await bench.start(await bench.save(nodes, ways, on_failure={"nodes": [told]}))
        await bench.settle()
        assert (await bench.steps(run))["!failure.tell"]["output"] == {"left": ["a"]}
        async with bench.database.tenant(ORGANIZATION) as conn:
            found = await runs.get(conn, ORGANIZATION, run)
        assert found is not None
        assert found.not_undone == ("a",)
