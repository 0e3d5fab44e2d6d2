"""Runs that end while nobody knows what came of a step: a person says it first, and what is undone follows."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.errors import GatewayTimeout, Problem
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.outcome import DriveInput

from services.workflow.tests.conftest import Bench

LOST = GatewayTimeout("integration did not answer within 5 seconds.")
BACK: JsonObject = {"id": "back", "kind": "http", "url": "https://bank.test/back", "effect": "idempotent"}
PAY: JsonObject = {
    "id": "pay",
    "kind": "http",
    "url": "https://bank.test/pay",
    "effect": "unsafe",
    "retry": {"attempts": 1},
    "compensate": {"do": BACK},
}
AGREE: JsonObject = {"id": "agree", "kind": "approval", "title": "?"}
NO: JsonObject = {"id": "no", "kind": "fail", "message": "no"}
AGREE_TO_FAIL: list[JsonValue] = [{"from": "agree", "port": "approved", "to": "no"}]
YES: JsonObject = {"approved": True, "data": None, "decisions": []}
HAPPENED: JsonObject = {"happened": True, "output": {"status": 200}}
NOT_HAPPENED: JsonObject = {"happened": False, "output": None}
GIVEN_UP: JsonObject = {"fail": True}


class Bank:
    """Every payment gets lost, unless ``problem`` says otherwise; what it is asked to do, in order."""

    def __init__(self, bench: Bench) -> None:
        self.asked: list[str] = []
        self.problem: Problem | None = LOST
        bench.sidecar.answer(SEND_HTTP, self._answer)

    async def _answer(self, request: HttpSend) -> HttpReply:
        self.asked.append(request.url.rsplit("/", 1)[1])
        if self.asked[-1] == "pay" and self.problem is not None:
            raise self.problem
        return HttpReply(status=200, headers={}, body="")


async def begun(bench: Bench, nodes: list[JsonValue], edges: list[JsonValue], **more: JsonValue) -> str:
    run = await bench.start(await bench.save(nodes, edges, **more))
    await bench.settle()
    return run


async def say(bench: Bench, run: str, path: str, data: JsonObject) -> None:
    """Something comes for a step that waits, and the run goes on from its journal."""
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.arrive(conn, run, path, data)
    await go_on(bench, run)


async def go_on(bench: Bench, run: str) -> None:
    """As its driver would, when it is woken."""
    row = await bench.row(run)
    await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))


async def waits(bench: Bench, run: str) -> list[tuple[str, str]]:
    query = "SELECT path, kind FROM waits WHERE run_id = %(run)s AND status = 'open' ORDER BY path"
    return [(row["path"], row["kind"]) for row in await bench.database.statement(query, {"run": run})]


async def statuses(bench: Bench, run: str) -> dict[str, str]:
    return {path: row["status"] for path, row in (await bench.steps(run)).items()}


ANSWERS = pytest.mark.parametrize(
    ("answer", "became", "undone"),
    [
        pytest.param(HAPPENED, "completed", True, id="it happened"),
        pytest.param(NOT_HAPPENED, "failed", False, id="it did not"),
        pytest.param(GIVEN_UP, "failed", False, id="nobody can say"),
    ],
)


@ANSWERS
@pytest.mark.parametrize("on_error", ["fail", "continue"])
async def test_a_run_that_fails(bench: Bench, answer: JsonObject, became: str, undone: bool, on_error: str) -> None:
    bank = Bank(bench)
    run = await begun(bench, [{**PAY, "on_error": on_error}, AGREE, NO], AGREE_TO_FAIL)
    assert await waits(bench, run) == [("agree", "approval"), ("pay", "outcome")]
    await say(bench, run, "agree", YES)
    assert ((await bench.row(run))["status"], await waits(bench, run)) == ("waiting", [("pay", "outcome")])
    await say(bench, run, "pay", answer)
    assert (await bench.row(run))["status"] == "failed"
    handled = "completed" if on_error == "continue" else became
    assert (await statuses(bench, run))["pay"] == handled
    assert bank.asked == (["pay", "back"] if undone else ["pay"]), "nothing is sent again for a run that fails"


@ANSWERS
async def test_a_run_that_is_cancelled(bench: Bench, answer: JsonObject, became: str, undone: bool) -> None:
    bank = Bank(bench)
    run = await begun(bench, [PAY, AGREE, NO], AGREE_TO_FAIL)
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.cancel(conn, run)
    await go_on(bench, run)
    assert ((await bench.row(run))["status"], await waits(bench, run)) == ("waiting", [("pay", "outcome")])
    await say(bench, run, "pay", answer)
    assert (await bench.row(run))["status"] == "cancelled"
    assert (await statuses(bench, run))["pay"] == became
    assert bank.asked == (["pay", "back"] if undone else ["pay"])


@ANSWERS
@pytest.mark.parametrize("where", ["the same round", "another round"])
async def test_a_loop_that_fails(bench: Bench, answer: JsonObject, became: str, undone: bool, where: str) -> None:
    bank = Bank(bench)
    nodes: list[JsonValue] = [PAY, AGREE, NO]
    edges: list[JsonValue] = [*AGREE_TO_FAIL]
    items: list[JsonValue] = ["a"]
    if where == "another round":
        nodes = [{"id": "first", "kind": "if", "condition": "index == 0"}, *nodes]
        edges.append({"from": "first", "port": "true", "to": "pay"})
        edges.append({"from": "first", "port": "false", "to": "agree"})
        items = ["a", "b"]
    body: JsonObject = {"nodes": nodes, "edges": edges}
    loop: JsonObject = {"id": "loop", "kind": "for_each", "items": items, "concurrency": 2, "body": body}
    run = await begun(bench, [loop], [])
    agree = "loop[0].agree" if where == "the same round" else "loop[1].agree"
    await say(bench, run, agree, YES)
    assert ((await bench.row(run))["status"], await waits(bench, run)) == ("waiting", [("loop[0].pay", "outcome")])
    await say(bench, run, "loop[0].pay", answer)
    assert (await bench.row(run))["status"] == "failed"
    after = await statuses(bench, run)
    assert (after["loop[0].pay"], after["loop"]) == (became, "failed")
    assert bank.asked == (["pay", "back"] if undone else ["pay"])


async def test_a_loop_that_goes_on_counts_the_round_as_failed(bench: Bench) -> None:
    Bank(bench)
    body: JsonObject = {"nodes": [PAY, AGREE, NO], "edges": AGREE_TO_FAIL}
    loop: JsonObject = {"id": "loop", "kind": "for_each", "items": ["a"], "on_item_error": "continue", "body": body}
    run = await begun(bench, [loop], [])
    await say(bench, run, "loop[0].agree", YES)
    assert await waits(bench, run) == [("loop[0].pay", "outcome")]
    await say(bench, run, "loop[0].pay", HAPPENED)
    assert (await bench.row(run))["status"] == "completed"
    output = (await bench.steps(run))["loop"]["output"]
    assert (output["items"], [error["index"] for error in output["errors"]]) == ([None], [0])


async def test_a_failure_handler_that_fails(bench: Bench) -> None:
    bank = Bank(bench)
    pay = {name: value for name, value in PAY.items() if name != "compensate"}
    handler: JsonObject = {"nodes": [pay, AGREE, NO], "edges": AGREE_TO_FAIL}
    run = await begun(bench, [{**NO, "id": "main"}], [], on_failure=handler)
    await say(bench, run, "!failure.agree", YES)
    assert ((await bench.row(run))["status"], await waits(bench, run)) == ("waiting", [("!failure.pay", "outcome")])
    await say(bench, run, "!failure.pay", HAPPENED)
    assert (await bench.row(run))["status"] == "failed"
    assert (await statuses(bench, run))["!failure.pay"] == "completed"
    assert bank.asked == ["pay"]


async def test_a_compensation_in_a_loop_that_failed_is_tried_again(bench: Bench) -> None:
    bank = Bank(bench)
    bank.problem = None
    again: JsonObject = {"attempts": 2, "backoff_seconds": 0.01}
    undo: JsonObject = {**BACK, "url": "https://bank.test/pay", "retry": again}
    body: JsonObject = {
        "nodes": [{"id": "first", "kind": "if", "condition": "index == 0"}, {**PAY, "compensate": {"do": undo}}, NO],
        "edges": [{"from": "first", "port": "true", "to": "pay"}, {"from": "first", "port": "false", "to": "no"}],
    }

    async def lost_once(request: HttpSend) -> HttpReply:
        bank.asked.append(request.method)
        if len(bank.asked) == 2:
            raise LOST
        return HttpReply(status=200, headers={}, body="")

    bench.sidecar.answer(SEND_HTTP, lost_once)
    loop: JsonObject = {"id": "loop", "kind": "for_each", "items": ["a", "b"], "concurrency": 2, "body": body}
    run = await begun(bench, [loop], [])
    assert (await bench.row(run))["status"] == "failed"
    assert (await statuses(bench, run))["loop[0].pay!undo"] == "completed"
    assert len(bank.asked) == 3
