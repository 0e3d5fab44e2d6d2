"""Runs are forgotten when their time is over, and nothing sooner: in batches, with all that belongs to them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from crewmesh_kit.signals import cancelled
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION
from crewmesh_workflow.engine.commits import EventKey
from crewmesh_workflow.runs.repository import id_at
from crewmesh_workflow.runs.retention import RUNS_BY_AGE, Retention
from crewmesh_workflow.settings import RetentionSettings
from psycopg.types.json import Jsonb

from services.workflow.tests.conftest import Bench

SET: JsonValue = {"id": "a", "kind": "set", "variables": {"x": 1}}
BELONGING = ("steps", "run_events", "waits", "arrivals", "decisions", "past_questions", "delivered_events")


@pytest.fixture
def retention(bench: Bench) -> Retention:
    return Retention(bench.database, RetentionSettings())


async def age(database: Database, run: str) -> None:
    async with database.system() as conn:
        await conn.execute("UPDATE runs SET keep_until = now() - interval '1 second' WHERE id = %s", [run])


async def count(database: Database, table: str, run: str) -> int:
    column = "id" if table == "runs" else "run_id"
    async with database.system() as conn:
        cursor = await conn.execute(f"SELECT count(*) AS n FROM {table} WHERE {column} = %s".encode(), [run])
        return (await cursor.fetchone() or {"n": -1})["n"]


async def many(database: Database, number: int, *, events: int, organization: str = ORGANIZATION) -> list[str]:
    """Runs that ended long ago, as far as their rows tell."""
    runs = [new_id("run") for _ in range(number)]
    async with database.system() as conn, conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, epoch, seq, finished_at,"
            " keep_until) VALUES (%s, %s, 'wf', 1, 'completed', '{}', 1, %s, now(), now() - interval '1 day')",
            [(run, organization, events) for run in runs],
        )
    return runs


class TestWhenItIsOver:
    async def test_the_end_of_a_run_says_until_when_it_is_kept(self, bench: Bench) -> None:
        short: JsonObject = {"retention_days": 3}
        for settings, days in ((short, 3), ({}, 30)):
            run = await bench.start(await bench.save([SET], settings=settings), event_id=f"e{days}")
            await bench.settle()
            row = await bench.row(run)
            assert row["keep_until"] - row["finished_at"] == timedelta(days=days)

    async def test_a_run_goes_with_all_that_belongs_to_it(self, bench: Bench, retention: Retention) -> None:
        workflow = await bench.save([SET])
        old, kept = await bench.start(workflow), await bench.start(workflow, event_id="e2")
        await bench.settle()
        async with bench.database.system() as conn:
            for run in (old, kept):
                await conn.execute(
                    "INSERT INTO waits (run_id, path, org_id, id, kind) VALUES (%s, 'w', %s, %s, 'approval')",
                    [run, ORGANIZATION, f"apr_{run}"],
                )
                await conn.execute("UPDATE waits SET id = id || '2' WHERE run_id = %s", [run])  # the next question
                await conn.execute(
                    "INSERT INTO arrivals (wait_id, run_id, path, org_id, data) VALUES (%s, %s, 'w', %s, '{}')",
                    [f"apr_{run}", run, ORGANIZATION],
                )
                await conn.execute(
                    "INSERT INTO decisions (wait_id, org_id, run_id, subject, approved) VALUES (%s, %s, %s, 'u', true)",
                    [f"apr_{run}", ORGANIZATION, run],
                )
                await conn.execute(
                    "INSERT INTO delivered_events (org_id, run_id, event_key) VALUES (%s, %s, 'k')", [ORGANIZATION, run]
                )
        await age(bench.database, old)
        assert await retention.purge_all() == 1
        for table in ("runs", *BELONGING):
            assert await count(bench.database, table, old) == 0, table
            assert await count(bench.database, table, kept) > 0, table
        assert await retention.purge_all() == 0

    async def test_a_live_run_is_never_forgotten(self, bench: Bench, retention: Retention) -> None:
        run = await bench.start(await bench.save([{"id": "d", "kind": "delay", "seconds": 3600}]))
        await bench.settle()
        await age(bench.database, run)
        assert await retention.purge_all() == 0
        assert await count(bench.database, "runs", run) == 1

    async def test_a_run_whose_end_is_yet_to_be_told_is_kept(self, bench: Bench, retention: Retention) -> None:
        child, awaited = await many(bench.database, 2, events=1)
        async with bench.database.system() as conn:
            await conn.execute("UPDATE runs SET parent_run = 'run_p', parent_path = 'x' WHERE id = %s", [child])
            await conn.execute(
                "INSERT INTO ended_runs (run_id, trigger_id, org_id) VALUES (%s, 't', %s)", [awaited, ORGANIZATION]
            )
        assert await retention.purge_all() == 0
        async with bench.database.system() as conn:
            await conn.execute("UPDATE runs SET parent_told = true WHERE id = %s", [child])
            await conn.execute("DELETE FROM ended_runs")
        assert await retention.purge_all() == 2

    async def test_it_happens_by_itself(self, bench: Bench) -> None:
        (run,) = await many(bench.database, 1, events=1)
        task = asyncio.create_task(Retention(bench.database, RetentionSettings(purge_seconds=0.05)).run())
        try:
            async with asyncio.timeout(60):
                while await count(bench.database, "runs", run):
                    pass
        finally:
            await cancelled([task])


class TestBatches:
    async def test_they_are_small(self, bench: Bench, retention: Retention) -> None:
        await many(bench.database, 150, events=2)
        await many(bench.database, 150, events=2, organization=OTHER_ORGANIZATION)
        assert [await retention.purge() for _ in range(3)] == [200, 100, 0]

    async def test_large_runs_are_taken_few_at_a_time(self, bench: Bench, retention: Retention) -> None:
        await many(bench.database, 5, events=9_000)
        assert [await retention.purge() for _ in range(3)] == [3, 2, 0]
        await many(bench.database, 2, events=1_000_000)
        assert [await retention.purge() for _ in range(3)] == [1, 1, 0]

    async def test_nor_are_they_large_where_the_organization_wants_it_sooner(self, bench: Bench) -> None:
        await many(bench.database, 5, events=9_000)
        await many(bench.database, 1, events=9_000, organization=OTHER_ORGANIZATION)
        forgotten: list[int] = []
        for _ in range(3):
            async with bench.database.tenant(ORGANIZATION) as conn:
                await conn.execute("UPDATE runs SET finished_at = now() - interval '8 days'")
                forgotten.append(await RUNS_BY_AGE.forget(conn, 7))
        assert forgotten == [3, 2, 0]

    async def test_replicas_share_the_work(self, bench: Bench, retention: Retention) -> None:
        await many(bench.database, 10, events=1)
        async with bench.database.system() as conn:
            await conn.execute("SELECT FROM runs ORDER BY id LIMIT 4 FOR UPDATE")
            assert await retention.purge() == 6


class TestWhatOutlivesARun:
    async def start_before(self, bench: Bench, days: float) -> tuple[str, str]:
        """The key of an occurrence that started a run so long ago."""
        run = id_at(datetime.now(UTC) - timedelta(days=days)) + "0" * 20
        key = EventKey("test", run).digest()
        async with bench.database.system() as conn:
            await conn.execute(
                "INSERT INTO event_starts (org_id, event_key, workflow_id, run_id) VALUES (%s, %s, 'wf', %s)",
                [ORGANIZATION, key, run],
            )
        return run, key

    async def test_keys_outlive_their_run_by_the_time_of_redelivery(self, bench: Bench, retention: Retention) -> None:
        await bench.database.statement("DELETE FROM event_starts")
        young, _ = await self.start_before(bench, 6.9)
        old, _ = await self.start_before(bench, 7.1)
        there, _ = await self.start_before(bench, 100)
        async with bench.database.system() as conn:
            await conn.execute(
                "UPDATE runs SET id = %s WHERE id = %s", [there, (await many(bench.database, 1, events=1))[0]]
            )
        await retention.prune()
        assert [await count(bench.database, "event_starts", run) for run in (young, old, there)] == [1, 0, 1]

    async def test_an_event_that_comes_again_after_its_run_is_gone_starts_nothing(
        self, bench: Bench, retention: Retention
    ) -> None:
        workflow = await bench.save([SET])
        run = await bench.start(workflow, event_id="again")
        await bench.settle()
        await age(bench.database, run)
        assert await retention.purge_all() == 1
        await retention.prune()
        assert await bench.start(workflow, event_id="again") == run

    async def test_tried_drafts_go_when_no_run_has_them(self, bench: Bench, retention: Retention) -> None:
        workflow = await bench.save([SET])
        (run,) = await many(bench.database, 1, events=1)
        async with bench.database.system() as conn:
            for version, days in ((-1, 2), (-2, 2), (-3, 0)):
                await conn.execute(
                    "INSERT INTO workflow_versions (workflow_id, version, org_id, definition, created_at)"
                    " VALUES (%s, %s, %s, %s, now() - make_interval(days => %s))",
                    [workflow, version, ORGANIZATION, Jsonb({}), days],
                )
            await conn.execute("UPDATE runs SET workflow_id = %s, workflow_version = -2 WHERE id = %s", [workflow, run])
        await retention.prune()
        async with bench.database.system() as conn:
            cursor = await conn.execute(
                "SELECT version FROM workflow_versions WHERE workflow_id = %s ORDER BY version", [workflow]
            )
            assert [row["version"] for row in await cursor.fetchall()] == [-3, -2, 1]
