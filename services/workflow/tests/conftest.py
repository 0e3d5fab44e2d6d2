"""An engine on a real, migrated PostgreSQL, driven in-process, with effects that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.definitions import repository as definitions
from crewmesh_workflow.engine.assembly import Assembly, assemble
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.nodes import EFFECT_KINDS
from crewmesh_workflow.settings import EngineSettings
from psycopg.rows import DictRow

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"


@pytest.fixture(scope="module")
def url(database_url: Callable[[str], str]) -> str:
    """A database of this module's own, migrated."""
    fresh = database_url("workflow")
    asyncio.run(migrate(fresh, app_id="workflow", migrations=MIGRATIONS))
    return fresh


@pytest.fixture
async def database(url: str) -> AsyncGenerator[Database]:
    async with Database.open(url, app_id="workflow", pool_max=8) as opened:
        yield opened


@dataclass
class Bench:
    """One replica's engine."""

    database: Database
    sidecar: FakeSidecar
    parts: Assembly
    scheduled: list[DriveInput]
    tasks: list[asyncio.Task[object]]

    async def save(self, nodes: Sequence[JsonValue], edges: Sequence[JsonValue] = (), **more: JsonValue) -> str:
        """Save a workflow; its id."""
        body: JsonObject = {"name": "w", "nodes": [*nodes], "edges": [*edges], **more}
        async with self.database.tenant(ORGANIZATION) as conn:
            workflow = await definitions.add(conn, ORGANIZATION, Definition.model_validate(body))
        assert workflow is not None
        return workflow.id

    async def start(self, workflow: str, data: JsonValue = None, *, event_id: str = "e1") -> str:
        event = CloudEvent(id=event_id, source="test", type="t", data=data)
        with self.parts.starter.starting() as starting:
            async with self.database.tenant(ORGANIZATION) as conn:
                run = await starting.start(conn, organization=ORGANIZATION, workflow=workflow, version=1, event=event)
            starting.launch()
        return run

    async def settle(self) -> None:
        """Wait for what was launched."""
        await asyncio.gather(*self.tasks)

    async def row(self, run: str) -> DictRow:
        async with self.database.system() as conn:
            cursor = await conn.execute(
                "SELECT *, extract(epoch FROM due_at - now())::float8 AS due_in FROM runs WHERE id = %s", [run]
            )
            row = await cursor.fetchone()
        assert row is not None
        return row

    async def events(self, run: str) -> list[tuple[int, str, str | None]]:
        """(seq, type, node) in order."""
        async with self.database.system() as conn:
            cursor = await conn.execute("SELECT seq, type, data FROM run_events WHERE run_id = %s ORDER BY seq", [run])
            return [(row["seq"], row["type"], row["data"].get("node")) for row in await cursor.fetchall()]

    async def steps(self, run: str) -> dict[str, DictRow]:
        async with self.database.system() as conn:
            cursor = await conn.execute("SELECT * FROM steps WHERE run_id = %s", [run])
            return {row["node_id"]: row for row in await cursor.fetchall()}

    async def make_due(self, run: str) -> None:
        async with self.database.system() as conn:
            await conn.execute("UPDATE runs SET due_at = now() - interval '1 second' WHERE id = %s", [run])

    async def told(self) -> list[str]:
        """The types of the events in the outbox."""
        async with self.database.system() as conn:
            cursor = await conn.execute("SELECT event FROM outbox ORDER BY position")
            return [CloudEvent.model_validate_json(row["event"]).type for row in await cursor.fetchall()]


@asynccontextmanager
async def replica(url: str, *, slots: int = 8) -> AsyncGenerator[Bench]:
    """A replica of the engine with its own pool."""
    async with Database.open(url, app_id="workflow", pool_max=8) as database:
        bench = make_bench(database, slots=slots)
        yield bench
        for task in bench.tasks:
            task.cancel()
        await asyncio.gather(*bench.tasks, return_exceptions=True)


def make_bench(database: Database, *, slots: int) -> Bench:
    sidecar = FakeSidecar("workflow")
    scheduled: list[DriveInput] = []
    tasks: list[asyncio.Task[object]] = []

    async def schedule(drive: DriveInput) -> None:
        scheduled.append(drive)

    def spawn(name: str, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work, name=name)
        tasks.append(task)
        return task

    parts = assemble(
        EngineSettings(inline_slots=slots),
        database=database,
        caller=sidecar,
        blobs=sidecar.blobs,
        kinds=EFFECT_KINDS,
        schedule=schedule,
        spawn=spawn,
        moved=lambda run: None,
    )
    return Bench(database, sidecar, parts, scheduled, tasks)


@pytest.fixture
async def bench(url: str) -> AsyncGenerator[Bench]:
    """A replica with free slots, on empty tables."""
    async with replica(url) as made:
        await empty(made.database)
        yield made


@pytest.fixture
async def idle(url: str) -> AsyncGenerator[Bench]:
    """A replica that starts runs and leaves them to drivers, on empty tables."""
    async with replica(url, slots=0) as made:
        await empty(made.database)
        yield made


async def empty(database: Database) -> None:
    async with database.system() as conn:
        await conn.execute("TRUNCATE workflows, runs, steps, run_events, event_starts, outbox CASCADE")
