"""An engine on a real, migrated PostgreSQL, driven in-process, with effects that a test scripts."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import DaprSettings, DatabaseSettings
from crewmesh_kit.signals import cancelled
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import APP_API_TOKEN, ORGANIZATION, auth_headers
from crewmesh_testkit.polling import until
from crewmesh_testkit.services import running
from crewmesh_workflow.definitions import repository as definitions
from crewmesh_workflow.engine.assembly import Assembly, Outside, assemble
from crewmesh_workflow.engine.commits import EventKey
from crewmesh_workflow.engine.lifetime import Drivers
from crewmesh_workflow.engine.outcome import DriveInput, Sleep
from crewmesh_workflow.engine.scheduling import Driving
from crewmesh_workflow.engine.starter import NewRun
from crewmesh_workflow.main import create_app
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.nodes.base import NodeKinds
from crewmesh_workflow.sandbox.service import Sandbox
from crewmesh_workflow.settings import EngineSettings, RetentionSettings, WorkflowSettings
from fastapi import FastAPI
from psycopg.rows import DictRow
from pydantic import SecretStr

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"


@pytest.fixture(autouse=True)
def _patient_pools(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  pytest uses it
    """Of fifty at once most wait for a connection; on a slow machine for longer than a caller should have to."""
    monkeypatch.setattr("crewmesh_kit.db.database._POOL_WAIT_SECONDS", 60.0)


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
    raised: list[tuple[str, str, bool]]
    tasks: list[asyncio.Task[object]]
    # With live drivers, what is handed over is driven: a driver that sleeps goes on when its event is raised.
    live: bool = False
    asleep: dict[tuple[str, str], DriveInput] = field(default_factory=dict[tuple[str, str], DriveInput])

    async def save(self, nodes: Sequence[JsonValue], edges: Sequence[JsonValue] = (), **more: JsonValue) -> str:
        """Save a workflow; its id."""
        body: JsonObject = {"name": "w", "nodes": [*nodes], "edges": [*edges], **more}
        async with self.database.tenant(ORGANIZATION) as conn:
            workflow = await definitions.add(conn, ORGANIZATION, Definition.model_validate(body))
        assert workflow is not None
        return workflow.id

    async def start(self, workflow: str, data: JsonValue = None, *, event_id: str = "e1", **more: object) -> str:
        """Start a run as the event ``event_id`` does; its id."""
        trigger: JsonObject = {"id": event_id, "source": "test", "type": "t", "data": data}
        new = NewRun(workflow=workflow, version=1, trigger=trigger, origin="event", key=EventKey("test", event_id))
        with self.parts.starter.starting() as starting:
            async with self.database.tenant(ORGANIZATION) as conn:
                started = await starting.start(conn, ORGANIZATION, replace(new, **more))
            starting.launch()
        return started.run

    async def scheduled_one(self, drive: DriveInput) -> None:
        self.scheduled.append(drive)
        if self.live and drive.sleep is not None:
            self.asleep[f"{drive.run}-{drive.driver}", drive.sleep.event or ""] = drive
        elif self.live:
            self.tasks.append(asyncio.create_task(self._drive(drive)))

    async def raised_one(self, instance: str, event: str, leave: bool) -> None:
        self.raised.append((instance, event, leave))
        if (drive := self.asleep.pop((instance, event), None)) is not None and not leave:
            self.tasks.append(asyncio.create_task(self._drive(drive)))

    async def _drive(self, drive: DriveInput) -> None:
        outcome = await self.parts.engine.advance(drive)
        if isinstance(outcome, Sleep):
            await self.scheduled_one(drive.model_copy(update={"sleep": outcome}))

    async def drive(self) -> None:
        """Have the engine advance what was handed over, as drivers would: one that is asleep is woken."""
        while self.scheduled:
            drive = self.scheduled.pop(0)
            await self.parts.engine.advance(drive)

    async def settle(self) -> None:
        """Wait for what was launched."""
        while pending := [task for task in self.tasks if not task.done()]:
            await asyncio.gather(*pending)

    async def children(self, *parents: str) -> list[str]:
        """The run that each of them has started, as soon as it is there."""

        async def all_there() -> list[str] | None:
            rows = await self.database.statement(
                "SELECT id FROM runs WHERE parent_run = ANY(%(parents)s)", {"parents": [*parents]}
            )
            return [row["id"] for row in rows] if len(rows) == len(parents) else None

        return await until(all_there, seconds=60, what="every run to have a child", every=0.01)

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
            return {row["path"]: row for row in await cursor.fetchall()}

    async def make_due(self, run: str) -> None:
        async with self.database.system() as conn:
            await conn.execute("UPDATE runs SET due_at = now() - interval '1 second' WHERE id = %s", [run])

    async def told(self) -> list[str]:
        """The types of the events in the outbox."""
        async with self.database.system() as conn:
            cursor = await conn.execute("SELECT event FROM outbox ORDER BY position")
            return [CloudEvent.model_validate_json(row["event"]).type for row in await cursor.fetchall()]


@asynccontextmanager
async def replica(
    url: str, *, slots: int = 8, kinds: NodeKinds | None = None, settings: EngineSettings | None = None
) -> AsyncGenerator[Bench]:
    """A replica of the engine with its own pool."""
    async with Database.open(url, app_id="workflow", pool_max=8) as database:
        bench = make_bench(database, slots=slots, kinds=kinds, settings=settings)
        yield bench
        if bench.tasks:
            await cancelled(bench.tasks)


def make_bench(
    database: Database, *, slots: int, kinds: NodeKinds | None = None, settings: EngineSettings | None = None
) -> Bench:
    sidecar = FakeSidecar("workflow")
    tasks: list[asyncio.Task[object]] = []

    async def schedule(drive: DriveInput) -> None:
        await bench.scheduled_one(drive)

    async def raise_event(instance: str, event: str, leave: bool) -> None:
        await bench.raised_one(instance, event, leave)

    def spawn(name: str, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work, name=name)
        tasks.append(task)
        return task

    async def moved(run: str) -> None:
        """Nobody follows runs here."""

    async def look() -> None:
        parts.leases.look()

    async def may_start(_conn: object, _run: object, _workflow: str) -> bool:
        return True

    outside = Outside(
        database=database,
        caller=sidecar,
        sandbox=Sandbox("/", workers=1),
        blobs=sidecar.blobs,
        kinds=kinds or all_kinds(),
        schedule=schedule,
        raise_event=raise_event,
        spawn=spawn,
        moved=moved,
        look=look,
        may_start=may_start,
    )
    parts = assemble(settings or EngineSettings(inline_slots=slots), RetentionSettings(), outside)
    bench = Bench(database, sidecar, parts, [], [], tasks)
    return bench


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
        await conn.execute("TRUNCATE workflows, runs, steps, run_events, event_starts, outbox, waits, arrivals CASCADE")
        await conn.execute("TRUNCATE idempotency, inbox, dead_letters, recent_events, delivered_events, ended_runs")


@dataclass
class Running:
    """The workflow service in this process, with its neighbours scripted."""

    client: httpx2.AsyncClient
    sidecar: FakeSidecar
    app: FastAPI
    scheduled: list[DriveInput]
    database: Database

    async def get(self, path: str, who: Identity, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers={**auth_headers(who, audience="workflow"), **headers})

    async def post(self, path: str, who: Identity, body: JsonValue, **headers: str) -> httpx2.Response:
        return await self.client.post(path, json=body, headers={**auth_headers(who, audience="workflow"), **headers})

    async def event(self, topic: str, event: JsonObject | bytes) -> str:
        """Deliver to the subscription as the sidecar does; its verdict."""
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        answer = await self.client.post(
            f"/subscriptions/{topic}",
            json={"data_base64": base64.b64encode(payload).decode()},
            headers={"dapr-api-token": APP_API_TOKEN},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["status"]

    async def until(self, run: str, status: str, who: Identity) -> JsonObject:
        """Wait for the run to get there."""
        found: JsonObject = {}

        async def there() -> JsonObject | None:
            nonlocal found
            found = (await self.get(f"/v1/runs/{run}", who)).json()
            return found if found["status"] == status else None

        return await until(there, seconds=60, what=lambda: f"{run} to be {status}; it is {found}", every=0.01)


@pytest.fixture
async def service(url: str, valkey: str) -> AsyncGenerator[Running]:
    sidecar = FakeSidecar("workflow", secrets={"redis-url": valkey, "hook-master-key": "a-key-of-tests"})
    scheduled: list[DriveInput] = []

    async def schedule(drive: DriveInput) -> None:
        scheduled.append(drive)

    async def raise_event(instance: str, event: str, leave: bool) -> None:
        """Nobody sleeps here: the sweeper finds what is due."""

    @asynccontextmanager
    async def open_driving(resources: Resources) -> AsyncGenerator[Driving]:
        yield Driving(schedule, raise_event)

    @asynccontextmanager
    async def open_worker(resources: Resources) -> AsyncGenerator[Worker]:
        yield Worker()

    settings = WorkflowSettings(
        database=DatabaseSettings(url=SecretStr(url)),
        dapr=DaprSettings(app_api_token=SecretStr(APP_API_TOKEN)),
    )
    # Before the service runs: its loops read several of the tables at a time, each in an order of its own.
    async with Database.open(url, app_id="workflow") as before:
        await empty(before)
    app = create_app(settings, sidecar, Drivers(open_driving, open_worker))
    async with running(app) as client:
        resources: Resources = app.state.resources
        yield Running(client, sidecar, app, scheduled, resources.get(Database))


class Worker:
    """Stands where Dapr's worker would."""
