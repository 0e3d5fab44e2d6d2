"""Runs that end while a run that they started is at work: that is cancelled and undone first, then what came before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit import polling
from crewmesh_workflow.engine.commits import Ack, Commit, Run
from crewmesh_workflow.engine.outcome import DriveInput

from services.workflow.tests.conftest import Bench, replica
from services.workflow.tests.test_control import ask, controlled, until
from services.workflow.tests.test_ends_that_wait import AGREE, Bank, arrive, http, statuses

UNDONE_IN_ORDER = ["aa", "bb", "undo-bb", "undo-aa"]


async def parent_of(bench: Bench, *more: JsonValue, edges: tuple[JsonValue, ...] = (), **settings: JsonValue) -> str:
    """A run that did ``aa`` and waits for another, which did ``bb`` and waits for people."""
    ways: list[JsonValue] = [{"from": "bb", "to": "agree"}, {"from": "agree", "port": "approved", "to": "ok"}]
    ok: JsonObject = {"id": "ok", "kind": "transform", "output": {}}
    child = await bench.save([http("bb", undo=True), AGREE, ok], ways)
    call: JsonObject = {"id": "call", "kind": "workflow", "workflow": child}
    nodes: list[JsonValue] = [http("aa", undo=True), call, *more]
    async with controlled(bench):
        run = await bench.start(await bench.save(nodes, [{"from": "aa", "to": "call"}, *edges], **settings))
        await polling.until(lambda: all_wait(bench), seconds=20, what="both runs to wait", every=0.01)
    return run


async def all_wait(bench: Bench) -> bool:
    rows = await bench.database.statement("SELECT status FROM runs")
    return [row["status"] for row in rows] == ["waiting", "waiting"]


async def child_of(bench: Bench, run: str) -> str:
    [row] = await bench.database.statement("SELECT id FROM runs WHERE parent_run = %(run)s", {"run": run})
    return row["id"]


async def all_due(bench: Bench) -> None:
    async with bench.database.system() as conn:
        await conn.execute("UPDATE runs SET due_at = now() - interval '1 second' WHERE finished_at IS NULL")


async def test_a_child_undoes_what_it_did_before_its_parent_does(bench: Bench) -> None:
    bank = Bank(bench)
    run = await parent_of(bench)
    async with controlled(bench):
        assert await ask(bench, "cancel", run)
        await until(bench, run, "cancelled")
    assert bank.asked == UNDONE_IN_ORDER
    assert await statuses(bench, run) == {"aa": "completed", "call": "cancelled", "aa!undo": "completed"}
    assert (await bench.row(await child_of(bench, run)))["status"] == "cancelled"


async def test_so_it_does_when_another_branch_fails(bench: Bench) -> None:
    bank = Bank(bench)
    no: JsonObject = {"id": "no", "kind": "fail", "message": "no"}
    ways: tuple[JsonValue, ...] = ({"from": "agree", "port": "approved", "to": "no"},)
    run = await parent_of(bench, AGREE, no, edges=ways, on_failure={"nodes": [http("tell")]})
    async with controlled(bench):
        await arrive(bench, run, "agree", {"approved": True, "data": None, "decisions": []})
        await until(bench, run, "failed")
    assert bank.asked == [*UNDONE_IN_ORDER, "tell"]


async def test_a_child_that_was_never_begun_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    beginning = asyncio.Event()

    async def for_ever(*_: object) -> str:
        beginning.set()
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr("crewmesh_workflow.engine.children.Children.start", for_ever)
    run = await bench.start(await bench.save([{"id": "call", "kind": "workflow", "workflow": "any"}]))
    async with asyncio.timeout(60):
        await beginning.wait()
    async with controlled(bench):
        assert await ask(bench, "cancel", run)
        await until(bench, run, "cancelled")
    assert await statuses(bench, run) == {"call": "cancelled"}


async def test_what_the_child_did_to_its_end_counts(bench: Bench) -> None:
    """It had ended when it was to be cancelled."""
    bank = Bank(bench)
    run = await parent_of(bench)
    child = await child_of(bench, run)
    assert await ask(bench, "cancel", run)
    await arrive(bench, child, "agree", {"approved": True, "data": None, "decisions": []})
    row = await bench.row(child)
    await bench.parts.engine.advance(DriveInput(run=child, driver=row["driver"], epoch=row["epoch"]))
    async with controlled(bench):
        await until(bench, run, "cancelled")
    assert (await statuses(bench, run))["call"] == "completed"
    assert bank.asked == ["aa", "bb", "undo-aa"]


@asynccontextmanager
async def gone_after(url: str, commits: int) -> AsyncGenerator[tuple[Bench, asyncio.Event]]:
    """A replica that is gone for good after so many commits."""
    gone = asyncio.Event()
    async with replica(url) as bench:
        commit_only, done = bench.parts.journal.commit, 0

        async def commit_and_crash(run: Run, commit: Commit, *, keep_days: int | None = None) -> Ack:
            nonlocal done
            ack = await commit_only(run, commit, keep_days=keep_days)
            done += 1
            if done == commits:
                gone.set()
                for task in bench.tasks:
                    task.cancel()
            if done >= commits:
                await asyncio.Event().wait()
            return ack

        bench.parts.journal.commit = commit_and_crash
        yield bench, gone


@pytest.mark.parametrize("commits", range(1, 9))
async def test_whenever_a_replica_is_gone_the_order_is_kept(url: str, bench: Bench, commits: int) -> None:
    bank = Bank(bench)
    run = await parent_of(bench)
    assert await ask(bench, "cancel", run)
    await all_due(bench)
    async with gone_after(url, commits) as (crashing, gone):
        bank.serve(crashing)
        async with controlled(crashing):
            ends = asyncio.ensure_future(until(bench, run, "cancelled"))
            crash = asyncio.ensure_future(gone.wait())
            await asyncio.wait([ends, crash], return_when=asyncio.FIRST_COMPLETED)
            ends.cancel()
            crash.cancel()
    await all_due(bench)
    async with controlled(bench):
        await until(bench, run, "cancelled")
    assert list(dict.fromkeys(bank.asked)) == UNDONE_IN_ORDER
    assert (await bench.row(await child_of(bench, run)))["status"] == "cancelled"
