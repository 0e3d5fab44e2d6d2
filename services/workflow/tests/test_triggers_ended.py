"""Ends of runs that start other runs: once each, for the ends that are wanted, and not in circles for ever."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_workflow.engine.children import MOST_DEPTH, depth_of
from crewmesh_workflow.triggers.ended import EndedRuns
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench

FINE: JsonObject = {"id": "n", "kind": "transform", "output": {"x": 1}}
FAILING: JsonObject = {"id": "n", "kind": "fail", "message": "no luck"}


def after(workflow: str, **more: JsonValue) -> JsonObject:
    return {"kind": "run_ended", "workflow": workflow, **more}


def loop(bench: Bench) -> EndedRuns:
    async def may_see(_conn: object, _organization: str, _workflow: str, _other: str) -> bool:
        return True

    return EndedRuns(bench.database, bench.parts.starter, bench.parts.payloads, may_see)


async def runs_of(bench: Bench, workflow: str) -> list[DictRow]:
    await bench.settle()
    async with bench.database.system() as conn:
        return await (
            await conn.execute("SELECT * FROM runs WHERE workflow_id = %s ORDER BY id", [workflow])
        ).fetchall()


async def left(bench: Bench) -> int:
    async with bench.database.system() as conn:
        return len(await (await conn.execute("SELECT 1 FROM ended_runs")).fetchall())


async def test_the_end_of_a_run_starts_another_that_knows_it(bench: Bench) -> None:
    first = await bench.save([FINE], output={"y": "{{ steps.n.output.x }}"})
    second = await bench.save([FINE], triggers=[after(first, id="then")])
    run = await bench.start(first)
    await bench.settle()
    await asyncio.gather(*(loop(bench).sweep() for _ in range(4)))
    (started,) = await runs_of(bench, second)
    assert started["origin"] == "run_ended"
    assert started["trigger"] == {
        "kind": "run_ended",
        "key": "then",
        "depth": 1,
        "data": {"run": run, "workflow": first, "status": "completed", "output": {"y": 1}, "error": None},
    }
    assert await left(bench) == 0


@pytest.mark.parametrize(
    ("statuses", "node", "expected"),
    [
        (["completed"], FINE, 1),
        (["completed"], FAILING, 0),
        (["failed"], FAILING, 1),
        (["failed", "cancelled"], FINE, 0),
    ],
)
async def test_only_ends_that_are_wanted(
    bench: Bench, statuses: list[JsonValue], node: JsonObject, expected: int
) -> None:
    first = await bench.save([node])
    second = await bench.save([FINE], triggers=[after(first, statuses=statuses)])
    await bench.start(first)
    await bench.settle()
    await loop(bench).sweep()
    assert len(await runs_of(bench, second)) == expected
    assert await left(bench) == 0


async def test_circles_end(bench: Bench) -> None:
    workflow = await bench.save([FINE], slug="again", triggers=[after("again")])
    await bench.start(workflow)
    for _ in range(MOST_DEPTH + 5):
        await bench.settle()
        await loop(bench).sweep()
    found = await runs_of(bench, workflow)
    assert sorted(depth_of(run["trigger"]) for run in found) == list(range(MOST_DEPTH + 1))
    assert await left(bench) == 0


async def test_circles_through_a_step_that_runs_a_workflow_end_too(bench: Bench) -> None:
    """It starts the other, whose end starts it again."""
    called = await bench.save([FINE])
    call: JsonObject = {"id": "call", "kind": "workflow", "workflow": called}
    calling = await bench.save([call], triggers=[after(called)])
    await bench.start(calling)
    for _ in range(MOST_DEPTH + 5):
        await bench.settle()
        await loop(bench).sweep()
    found = [*await runs_of(bench, calling), *await runs_of(bench, called)]
    assert sorted(depth_of(run["trigger"]) for run in found) == list(range(MOST_DEPTH + 1))
    (last,) = [run for run in found if depth_of(run["trigger"]) == MOST_DEPTH]
    assert (last["workflow_id"], last["error"]["type"]) == (calling, "nested-too-deep")
    assert await left(bench) == 0


async def test_a_trigger_that_has_gone_meanwhile_starts_nothing(bench: Bench) -> None:
    first = await bench.save([FINE])
    second = await bench.save([FINE], triggers=[after(first)])
    await bench.start(first)
    await bench.settle()
    assert await left(bench) == 1
    async with bench.database.system() as conn:
        await conn.execute("UPDATE triggers SET enabled = false")
    await loop(bench).sweep()
    assert (await runs_of(bench, second), await left(bench)) == ([], 0)


async def test_the_same_end_again_is_the_same_run(bench: Bench) -> None:
    """The row came back: a backup was restored, say. The run's key remembers."""
    first = await bench.save([FINE])
    second = await bench.save([FINE], triggers=[after(first)])
    run = await bench.start(first)
    await bench.settle()
    await loop(bench).sweep()
    async with bench.database.system() as conn:
        await conn.execute(
            "INSERT INTO ended_runs (run_id, trigger_id, org_id)"
            " SELECT %s, id, org_id FROM triggers WHERE kind = 'run_ended'",
            [run],
        )
    await loop(bench).sweep()
    assert len(await runs_of(bench, second)) == 1
