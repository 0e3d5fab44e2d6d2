"""Runs that a step starts and waits for: one for each step, however often the step's run is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH
from crewmesh_testkit import polling

from services.workflow.tests.conftest import Bench
from services.workflow.tests.test_control import ASKING, Held, arrive, controlled, found, search, until

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


@pytest.mark.parametrize("meanwhile", ["the child is at work", "its workflow is archived", "its name is another's"])
async def test_a_parent_that_is_woken_by_something_else_goes_on_waiting(bench: Bench, meanwhile: str) -> None:
    held = Held(bench)
    child = await save_as(bench, "child")
    run = await bench.start(await bench.save([CALL, *ASKING[0]], ASKING[1]))
    async with asyncio.timeout(60):
        await held.begun.wait()
    await polling.until(lambda: handed_over(bench), seconds=60, what="the parent to be given away", every=0.01)
    if meanwhile == "its workflow is archived":
        await change(bench, "UPDATE workflows SET status = 'archived' WHERE id = %s", child)
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


async def handed_over(bench: Bench) -> bool:
    return bool(bench.scheduled)
