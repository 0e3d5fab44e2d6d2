"""Runs that a step starts and waits for: one for each step, however often the step's run is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SEND_HTTP, HttpReply, HttpSend
from crewmesh_testkit import polling
from crewmesh_workflow.engine.children import NoSuchWorkflow
from crewmesh_workflow.engine.commits import Ack, Commit, Run
from crewmesh_workflow.engine.journal_sql import CHILDREN
from crewmesh_workflow.engine.outcome import DriveInput
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench
from services.workflow.tests.test_control import ASKING, Held, arrive, controlled, found, search, until
from services.workflow.tests.test_ends_that_wait import http

ONE_AT_A_TIME: JsonObject = {"concurrency": {"limit": 1, "when_full": "refuse"}}
CALL: JsonObject = {"id": "call", "kind": "workflow", "workflow": "child"}


async def save_as(bench: Bench, slug: str) -> str:
    workflow = await bench.save([search()], settings=ONE_AT_A_TIME)
    await name(bench, workflow, slug)
    return workflow


async def name(bench: Bench, workflow: str, slug: str) -> None:
    await change(bench, "UPDATE workflows SET slug = %s WHERE id = %s", slug, workflow)


async def change(bench: Bench, statement: str, *parameters: str) -> None:
    async with bench.database.system() as conn:
        await conn.execute(statement.encode(), parameters)


async def children_of(bench: Bench, run: str) -> Sequence[str]:
    rows = await bench.database.statement("SELECT workflow_id FROM runs WHERE parent_run = %(run)s", {"run": run})
    return [row["workflow_id"] for row in rows]


@pytest.mark.parametrize(
    "meanwhile",
    ["the child is at work", "its workflow is paused", "its workflow is archived", "its name is another's"],
)
async def test_a_parent_that_is_woken_by_something_else_goes_on_waiting(bench: Bench, meanwhile: str) -> None:
    held = Held(bench)
    child = await save_as(bench, "child")
    run = await bench.start(await bench.save([CALL, *ASKING[0]], ASKING[1]))
    async with asyncio.timeout(60):
        await held.begun.wait()
    await polling.until(lambda: handed_over(bench), seconds=60, what="the parent to be given away", every=0.01)
    if meanwhile in ("its workflow is paused", "its workflow is archived"):
        await change(bench, "UPDATE workflows SET status = %s WHERE id = %s", meanwhile.split()[-1], child)
    elif meanwhile == "its name is another's":
        await name(bench, child, "before")
        await save_as(bench, "child")

    assert await arrive(bench, run)
    await bench.drive()
    assert {path: step["status"] for path, step in (await bench.steps(run)).items()} == {
        "call": "waiting", "ok": "completed", "then": "completed",
    }  # fmt: skip
    assert await children_of(bench, run) == [child]

    held.go.set()
    async with controlled(bench):
        await until(bench, run, "completed")


async def test_a_paused_workflow_is_not_started(bench: Bench) -> None:
    child = await save_as(bench, "child")
    await change(bench, "UPDATE workflows SET status = 'paused' WHERE id = %s", child)
    run = await bench.start(await bench.save([CALL]))
    async with controlled(bench):
        await until(bench, run, "failed")
    error = (await bench.row(run))["error"]
    assert (error["node"], error["type"]) == ("call", "workflow-not-active")
    assert f"PUT /v1/workflows/{child}/status" in error["detail"]
    assert await children_of(bench, run) == []


@pytest.mark.parametrize("n", ["seven", 8])
async def test_a_child_takes_what_its_input_schema_says(bench: Bench, n: JsonValue) -> None:
    bench.sidecar.answer(SEARCH, found)
    schema: JsonObject = {"required": ["n", "unit"], "properties": {"n": {"type": "integer"}}}
    child = await bench.save([search()], settings={"input_schema": schema})
    await name(bench, child, "child")
    inputs: JsonObject = {"n": n} if n == "seven" else {"n": n, "unit": "m"}
    run = await bench.start(await bench.save([{**CALL, "inputs": inputs}]))
    async with controlled(bench):
        await until(bench, run, "failed" if n == "seven" else "completed")
    assert len(await children_of(bench, run)) == (0 if n == "seven" else 1)
    if n == "seven":
        error = (await bench.row(run))["error"]
        assert (error["node"], error["type"]) == ("call", "invalid-input")
        for told in ("the workflow 'child'", "inputs.n: ", '"unit" is a required property'):
            assert told in error["detail"]


@pytest.mark.parametrize("why", ["its workflow is paused", "there is no such workflow", "its input is wrong"])
async def test_a_child_that_cannot_begin_is_a_failure_that_is_handled(bench: Bench, why: str) -> None:
    schema: JsonObject = {"properties": {"n": {"type": "integer"}}}
    child = await bench.save([search()], settings={"input_schema": schema})
    if why != "there is no such workflow":
        await name(bench, child, "child")
    if why == "its workflow is paused":
        await change(bench, "UPDATE workflows SET status = 'paused' WHERE id = %s", child)
    inputs: JsonObject = {"n": "seven"} if why == "its input is wrong" else {}
    call: JsonObject = {**CALL, "inputs": inputs, "on_error": "handle"}
    told: JsonObject = {"id": "told", "kind": "transform", "output": {"of": "{{ steps.call.output }}"}}
    ok: JsonObject = {"id": "ok", "kind": "transform", "output": {}}
    ways: list[JsonValue] = [{"from": "call", "port": "error", "to": "told"}, {"from": "call", "to": "ok"}]
    run = await bench.start(await bench.save([call, told, ok], ways))
    async with controlled(bench):
        await until(bench, run, "completed")
    steps = await bench.steps(run)
    assert {path: step["status"] for path, step in steps.items()} == {
        "call": "completed", "told": "completed", "ok": "skipped",
    }  # fmt: skip
    error = steps["call"]["error"]
    wrong = {"its workflow is paused": "workflow-not-active", "there is no such workflow": "no-such-workflow"}
    assert error["type"] == wrong.get(why, "invalid-input")
    assert steps["told"]["output"] == {"of": {"run": None, "status": "failed", "output": None, "error": error}}
    assert await children_of(bench, run) == []


@pytest.mark.parametrize("order", [["call", "pay"], ["pay", "call"]])
async def test_what_came_beside_a_child_that_cannot_begin_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, order: list[str]
) -> None:
    """Both are there when the worker looks, for its commit took long."""
    go, asked, under_way = {name: asyncio.Event() for name in ("first", *order)}, list[str](), asyncio.Event()

    async def answer(request: HttpSend) -> HttpReply:
        step = request.url.rsplit("/", 1)[1]
        asked.append(step)
        await go[step].wait()
        return HttpReply(status=200, headers={}, body="")

    async def start(*_: object) -> str:
        await go["call"].wait()
        raise NoSuchWorkflow("There is none.")

    commit_only = bench.parts.journal.commit

    async def commit(run: Run, commit: Commit, *, keep_days: int | None = None) -> Ack:
        if not under_way.is_set():
            under_way.set()
            for step in order:
                go[step].set()
                await polling.until(partial(is_over, step), seconds=60, what=f"{step} to be over", every=0.01)
        return await commit_only(run, commit, keep_days=keep_days)

    bench.sidecar.answer(SEND_HTTP, answer)
    monkeypatch.setattr("crewmesh_workflow.engine.children.Children.start", start)
    bench.parts.journal.commit = commit
    run = await bench.start(await bench.save([http("first"), {**CALL, "on_error": "handle"}, http("pay")]))
    go["first"].set()
    async with controlled(bench):
        await until(bench, run, "completed")
    assert sorted(asked) == ["first", "pay"]


async def is_over(step: str) -> bool:
    return f"step {step}" not in {task.get_name() for task in asyncio.all_tasks()}


async def handed_over(bench: Bench) -> bool:
    return bool(bench.scheduled)


async def test_children_that_were_begun_are_looked_up_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: one end of a thousand may wake the run a thousand times."""
    waiting = await bench.save(*ASKING)
    await name(bench, waiting, "child")
    loop: JsonObject = {"id": "loop", "kind": "for_each", "items": [*range(20)], "concurrency": 20}
    loop["body"] = {"nodes": [CALL]}
    run = await bench.start(await bench.save([loop, *ASKING[0]], ASKING[1]))
    await polling.until(lambda: parent_is_away(bench, run), seconds=60, what="the parent to be given away", every=0.01)

    asked: list[str] = []
    statement = bench.database.statement

    async def counted(query: str, parameters: Mapping[str, object] | None = None) -> list[DictRow]:
        asked.append(query)
        return await statement(query.encode(), parameters)

    monkeypatch.setattr(bench.database, "statement", counted)
    assert await arrive(bench, run)
    row = await bench.row(run)
    await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))
    assert (await bench.steps(run))["then"]["status"] == "completed"
    assert [query for query in asked if "event_starts" in query or "parent_run =" in query] == [CHILDREN]
    assert len(await children_of(bench, run)) == 20


async def parent_is_away(bench: Bench, run: str) -> bool:
    return (await bench.row(run))["status"] == "waiting" and len(await children_of(bench, run)) == 20
