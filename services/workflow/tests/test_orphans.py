"""Runs whose parent does not wait for them any more are cancelled, whatever was lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.db.database import DatabaseUnavailable
from crewmesh_kit.signals import cancelled
from crewmesh_testkit.identities import ORGANIZATION, identity
from crewmesh_testkit.polling import until
from crewmesh_workflow.engine import control
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.turn import Turn
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench, Running

OWNER = identity("workflows:read", "workflows:write", "runs:read", "runs:write")
ASKING: tuple[list[JsonValue], list[JsonValue]] = (
    [{"id": "ok", "kind": "approval", "title": "?"}, {"id": "then", "kind": "set", "variables": {"done": True}}],
    [{"from": "ok", "to": "then", "port": "approved"}],
)


async def parent_of(bench: Bench, *steps: str) -> tuple[str, dict[str, str]]:
    """A run that waits for the runs of these steps of its, and those runs by step."""
    child = await bench.save(*ASKING)
    calls: list[JsonValue] = [{"id": step, "kind": "workflow", "workflow": child} for step in steps]
    run = await bench.start(await bench.save(calls))
    await bench.settle()
    return run, {row["parent_path"]: row["id"] for row in await children(bench, run)}


async def children(bench: Bench, run: str) -> Sequence[DictRow]:
    return await bench.database.statement("SELECT * FROM runs WHERE parent_run = %(run)s", {"run": run})


async def advance(bench: Bench, run: str) -> None:
    row = await bench.row(run)
    await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))
    await bench.settle()


async def cancel(bench: Bench, run: str) -> None:
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.cancel(conn, run)
    await advance(bench, run)


async def asked(bench: Bench, runs: dict[str, str]) -> dict[str, str | None]:
    return {step: (await bench.row(run))["asked"] for step, run in runs.items()}


def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a commit wants of children finds none: they are there a moment later."""
    monkeypatch.setattr(control, "_CHILDREN", "SELECT id, org_id FROM runs WHERE %(run)s = %(path)s")


async def test_of_a_parent_that_was_cancelled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lost(monkeypatch)
    run, waited_for = await parent_of(bench, "a", "b")
    await bench.parts.control.cancel_orphans()
    assert await asked(bench, waited_for) == {"a": None, "b": None}
    await cancel(bench, run)
    assert (await bench.row(run))["status"] == "cancelled"
    assert await asked(bench, waited_for) == {"a": None, "b": None}
    await bench.parts.control.cancel_orphans()
    assert await asked(bench, waited_for) == {"a": "cancel", "b": "cancel"}
    for child in waited_for.values():
        await advance(bench, child)
        assert (await bench.row(child))["status"] == "cancelled"


async def test_of_a_wait_that_is_closed_while_the_parent_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that arrives is enough for the join; the run waits for its own approval then."""
    lost(monkeypatch)
    child, quick = await bench.save(*ASKING), await bench.save([{"id": "n", "kind": "transform", "output": {}}])
    nodes: list[JsonValue] = [
        {"id": "slow", "kind": "workflow", "workflow": child},
        {"id": "quick", "kind": "workflow", "workflow": quick},
        {"id": "first", "kind": "join", "mode": "any"},
        {"id": "other", "kind": "workflow", "workflow": child},
    ]
    edges: list[JsonValue] = [
        {"from": "slow", "to": "first"},
        {"from": "quick", "to": "first"},
        {"from": "first", "to": "other"},
    ]
    run = await bench.start(await bench.save(nodes, edges))
    await bench.settle()
    await bench.parts.control.tell_parents()
    await advance(bench, run)
    await bench.parts.control.cancel_orphans()
    live = {row["parent_path"]: row["id"] for row in await children(bench, run) if row["finished_at"] is None}
    assert await asked(bench, live) == {"slow": "cancel", "other": None}
    assert (await bench.row(run))["status"] == "waiting"


async def test_of_a_parent_that_the_engine_gave_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Execution) -> Turn:
        raise ZeroDivisionError("a mistake of ours")

    run, waited_for = await parent_of(bench, "a")
    with monkeypatch.context() as patched:
        patched.setattr(Execution, "begin", broken)
        for _ in range(4):
            with pytest.raises(ZeroDivisionError):
                await advance(bench, run)
        await advance(bench, run)
    assert (await bench.row(run))["status"] == "failed"
    loops = [asyncio.ensure_future(run()) for run in bench.parts.loops.values()]

    async def found() -> bool:
        return (await bench.row(waited_for["a"]))["status"] == "cancelled"

    await until(found, seconds=60, what="the child to be cancelled", every=0.01)
    await cancelled(loops)


async def test_the_service_looks_by_itself(service: Running) -> None:
    calling: JsonObject = {"name": "p", "nodes": [{"id": "a", "kind": "workflow", "workflow": "child"}]}
    nodes, edges = ASKING
    await service.post("/v1/workflows", OWNER, {"name": "c", "slug": "child", "nodes": nodes, "edges": edges})
    workflow = (await service.post("/v1/workflows", OWNER, calling)).json()["id"]
    run = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()["id"]
    await service.until(run, "waiting", OWNER)
    (child,) = (await service.get(f"/v1/runs?parent={run}", OWNER)).json()["items"]
    await service.database.statement("UPDATE waits SET status = 'closed' WHERE run_id = %(run)s", {"run": run})
    await service.until(child["id"], "cancelled", OWNER)


async def test_a_run_that_is_done_again_has_children_of_its_own(bench: Bench) -> None:
    old, of_old = await parent_of(bench, "a")
    row = await bench.row(old)
    new = await bench.start(row["workflow_id"], event_id="again", source_run=old)
    await bench.settle()
    of_new = {row["parent_path"]: row["id"] for row in await children(bench, new)}
    await cancel(bench, old)
    await bench.parts.control.cancel_orphans()
    assert (await asked(bench, of_old), await asked(bench, of_new)) == ({"a": "cancel"}, {"a": None})


async def test_pages_follow_each_other_and_begin_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lost(monkeypatch)
    monkeypatch.setattr(control, "_PAGE_OF_CHILDREN", 2)
    _, waited_for = await parent_of(bench, "a", "b", "c")
    later, orphans = await parent_of(bench, "d")
    await cancel(bench, later)
    for expected in (None, "cancel"):
        await bench.parts.control.cancel_orphans()
        assert await asked(bench, orphans) == {"d": expected}
    for _ in range(2):
        await bench.parts.control.cancel_orphans()
    earlier = (await bench.row(waited_for["a"]))["parent_run"]
    await cancel(bench, earlier)
    for _ in range(3):
        await bench.parts.control.cancel_orphans()
    assert set((await asked(bench, waited_for)).values()) == {"cancel"}


async def test_a_database_that_is_away_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the page that were not reached come again."""
    lost(monkeypatch)
    run, waited_for = await parent_of(bench, "a")
    await cancel(bench, run)

    async def away(*_: object) -> bool:
        raise DatabaseUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(bench.parts.control, "cancel", away)
        with pytest.raises(DatabaseUnavailable):
            await bench.parts.control.cancel_orphans()
    await bench.parts.control.cancel_orphans()
    assert await asked(bench, waited_for) == {"a": "cancel"}


async def test_looking_costs_no_more_than_the_children_that_live(bench: Bench) -> None:
    """However many other runs there are: an index holds no others, and for each there are two looks by primary key."""
    await parent_of(bench, "a", "b")
    insert = (
        "INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, epoch, seq, finished_at,"
        " parent_run, parent_path)"
        " SELECT 'run_' || %(status)s || n, %(org)s, 'wf', 1, %(status)s, '{}', 1, 0,"
        " CASE WHEN %(status)s = 'completed' THEN now() END, %(parent)s, 'x' FROM generate_series(1, 20000) n"
    )
    for status, parent in (("completed", "run_p"), ("waiting", None)):
        await bench.database.statement(insert, {"org": ORGANIZATION, "status": status, "parent": parent})
    await bench.database.statement("ANALYZE runs")
    look = f"EXPLAIN {control._LIVE_CHILDREN}"  # pyright: ignore[reportPrivateUsage]
    plan = await bench.database.statement(look, {"after": "", "limit": 1000})
    told = "\n".join(str(row["QUERY PLAN"]) for row in plan)
    assert [line.split(" using ")[1].split()[0] for line in told.splitlines() if "Scan" in line] == [
        "runs_live_children",
        "waits_pkey",
        "runs_pkey",
    ], told
