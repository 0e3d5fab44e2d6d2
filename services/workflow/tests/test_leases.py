"""The leases a replica holds: what it knows of their runs, and how it extends them beside those who commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_testkit.polling import until
from crewmesh_workflow.engine.commits import Run
from crewmesh_workflow.engine.leases import Leases
from psycopg.abc import QueryNoTemplate
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench

SEARCH_NODE: JsonObject = {"id": "s", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"}
RUN = Run("run_1", ORGANIZATION, "wf_1", 1, {}, epoch=1, seq=1)


class Rows:
    """Stands where the database would: reads its row, and answers when something else has happened meanwhile."""

    def __init__(self) -> None:
        self.row: dict[str, object] = {"id": RUN.id, "epoch": RUN.epoch, "asked": None, "arrivals": 0}
        self.meanwhile: Callable[[], None] = lambda: None

    async def statement(self, _query: str, _parameters: Mapping[str, object]) -> list[dict[str, object]]:
        read = dict(self.row)
        self.meanwhile()
        return [read]


async def test_a_look_that_was_overtaken_by_a_commit_asks_for_nothing() -> None:
    """The run was to be paused, and before it was, not any more: the look saw the first, the commit the second."""
    rows = Rows()
    leases = Leases(cast(Database, rows), seconds=15, beat_seconds=5)
    changes: list[str | None] = []

    def commit() -> None:
        rows.row["asked"] = None
        lease.tell(None, 0)

    with leases.hold(RUN) as lease:
        lease.changed = lambda: changes.append(lease.asked)
        rows.row["asked"], rows.meanwhile = "pause", commit
        await leases.extend()
        assert (lease.asked, changes) == (None, [])
        rows.row["asked"], rows.meanwhile = "cancel", lambda: None
        await leases.extend()
        assert (lease.asked, changes) == ("cancel", ["cancel"])


async def test_leases_are_given_back_in_the_order_of_commits(idle: Bench) -> None:
    """Who waits for the first holds none of the others, which a commit may be about to lock."""
    workflow = await idle.save([SEARCH_NODE])
    runs = sorted([await idle.start(workflow, event_id=f"e{number}") for number in range(40)])
    leases = idle.parts.leases
    with ExitStack() as held:
        # Whatever the order in which they are kept, and the rows lie: it is not that of their ids.
        mine = [held.enter_context(leases.hold(replace(RUN, id=run))) for run in reversed(runs)]
        async with idle.database.system() as conn:
            await conn.execute("UPDATE runs SET arrivals = 1 WHERE id = %s", [runs[0]])
            writing = asyncio.create_task(leases.give_back())

            async def waits() -> bool:
                cursor = await conn.execute("SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
                return await cursor.fetchone() is not None

            await until(waits, seconds=60, what="the leases to wait for the first run", every=0.01)
            cursor = await conn.execute("SELECT id FROM runs ORDER BY id FOR NO KEY UPDATE SKIP LOCKED")
            assert [row["id"] for row in await cursor.fetchall()] == runs
        await writing
        assert not any(lease.lost for lease in mine)
    assert (await idle.row(runs[0]))["due_in"] <= 0, "what was committed meanwhile changes nothing about it"


async def test_a_run_that_somebody_has_locked_keeps_no_other_from_being_extended(idle: Bench) -> None:
    workflow = await idle.save([SEARCH_NODE])
    locked, other = [await idle.start(workflow, event_id=event) for event in ("e1", "e2")]
    leases = idle.parts.leases
    with leases.hold(replace(RUN, id=locked)) as first, leases.hold(replace(RUN, id=other)) as second:
        async with idle.database.system() as conn:
            await conn.execute("SELECT FROM runs WHERE id = %s FOR NO KEY UPDATE", [locked])
            async with asyncio.timeout(20):  # a statement that waits gives up after 30 s
                await leases.extend()
            assert (await idle.row(other))["due_in"] > 0
            assert (await idle.row(locked))["due_in"] <= 0
            assert (first.lost, second.lost) == (False, False)
            await conn.execute("UPDATE runs SET arrivals = 1 WHERE id = %s", [locked])
        await leases.extend()
        assert (await idle.row(locked))["due_in"] > 0
        assert (first.lost, first.arrivals) == (False, 1)


async def test_a_run_is_extended_when_who_has_locked_it_lets_it_go(
    idle: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the same look: else one that commits all the time could be found locked again and again."""
    run = await idle.start(await idle.save([SEARCH_NODE]))
    leases = idle.parts.leases
    statement, queries = idle.database.statement, list[object]()
    with leases.hold(replace(RUN, id=run)) as lease:
        async with idle.database.system() as conn:
            await conn.execute("SELECT FROM runs WHERE id = %s FOR NO KEY UPDATE", [run])

            async def counted(query: QueryNoTemplate, parameters: Mapping[str, object]) -> list[DictRow]:
                queries.append(query)
                rows = await statement(query, parameters)
                if len(queries) == 2:  # it was passed over, and seen to be held all the same
                    await conn.rollback()
                return rows

            monkeypatch.setattr(idle.database, "statement", counted)
            await leases.extend()
        assert (lease.lost, len(queries)) == (False, 3)
    assert (await idle.row(run))["due_in"] > 0


async def test_a_run_that_is_given_back_is_not_taken_back_by_an_extension_that_was_under_way(idle: Bench) -> None:
    run = await idle.start(await idle.save([SEARCH_NODE]))
    leases = idle.parts.leases
    with leases.hold(replace(RUN, id=run)) as lease:
        await leases.extend()
        await leases.hand_back(lease)
        leases.keep(lease)  # as the extension sees it
        await leases.extend()
        assert lease.lost
    assert (await idle.row(run))["due_in"] <= 0
