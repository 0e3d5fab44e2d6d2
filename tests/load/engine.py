"""Our side: the workflow service's engine as its service assembles it, with effects that do nothing.

Everything else is as in production: an event is accepted, a run is written, every step is committed with its events
before what follows it begins, RunStarted and RunCompleted go through the outbox to the broker, followers are signalled.
Runs that wait are given to Dapr's drivers.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import cast

import crewmesh_workflow
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.background import Background
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.parts import DatabaseParts, open_database
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DatabaseSettings, TelemetrySettings
from crewmesh_kit.signals import Signals
from crewmesh_kit.telemetry import continued, tracer_provider
from crewmesh_workflow.definitions import repository as definitions
from crewmesh_workflow.engine.assembly import Assembly, Outside, assemble
from crewmesh_workflow.engine.driver import ADVANCE, DRIVE_RUN, OrchestrationContext, drive_run
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.scheduling import DriverClient, Driving, driving
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.sandbox.service import Sandbox
from crewmesh_workflow.settings import EngineSettings, RetentionSettings
from crewmesh_workflow.triggers.deliveries import Deliveries
from crewmesh_workflow.triggers.service import Triggers

from tests.load.sidecar import Bench
from tests.load.worker import Context, Runtime, open_client
from tests.load.workflows import ALL, FANNED_OUT, FIVE, GO, NO_HTTP, RESUMED, TEN_PURE, WAITING, BenchWorkflow

MANY = 1_000
_MIGRATIONS = Path(crewmesh_workflow.__file__).parents[2] / "migrations"
_WHO = Identity(new_id("org"), "bench", frozenset({"*"}))
# Every request has one.
_TRACE = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}
_LONGEST_RUN_SECONDS = 60.0
_AT_A_TIME = 32


class EngineSide:
    """Starts runs and waits for their ends."""

    def __init__(self, driving: Driving) -> None:
        self.triggers: Triggers
        self.parts: Assembly
        self.driving = driving
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        self._expected_runs = self._expected_steps = 0
        self._asleep: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def five(self) -> None:
        """From the event to the commit that ends the run."""
        await self._to_its_end(await self._start(FIVE))

    async def ten_pure(self) -> None:
        await self._to_its_end(await self._start(TEN_PURE))

    async def fan_out(self) -> None:
        await self._to_its_end(await self._start(FANNED_OUT))

    async def waiting(self) -> None:
        """From the event to the end, with a driver that sleeps in between and is woken by another event."""
        subject = new_id("evt")
        run = await self._start(WAITING, subject)
        await self._until_asleep(run)
        await self._wake(run, subject)

    async def resume_many(self) -> float:
        """Runs a second, from the first event that wakes one to the end of the last."""
        turnstile = asyncio.Semaphore(_AT_A_TIME)
        subjects: dict[str, str] = {}

        async def start() -> None:
            subject = new_id("evt")
            async with turnstile:
                run = await self._start(RESUMED, subject)
                subjects[run] = subject
                await self._until_asleep(run)

        async def resume(run: str) -> None:
            async with turnstile:
                await self._wake(run, subjects[run])

        await asyncio.gather(*(start() for _ in range(MANY)))
        began = time.perf_counter()
        await asyncio.gather(*(resume(run) for run in subjects))
        return MANY / (time.perf_counter() - began)

    async def check(self, database: Database) -> None:
        """That every run has ended well, with all its steps in the journal."""
        async with database.system() as conn:
            cursor = await conn.execute(
                "SELECT (SELECT count(*) FROM runs WHERE status = 'completed') AS completed,"
                " (SELECT count(*) FROM runs) AS runs,"
                " (SELECT count(*) FROM steps WHERE status = 'completed') AS steps"
            )
            found = await cursor.fetchone()
        expected = {"completed": self._expected_runs, "runs": self._expected_runs, "steps": self._expected_steps}
        if found != expected:
            raise RuntimeError(f"the journal holds {found}, not {expected}")

    def register(self, runtime: Runtime) -> None:
        """What Dapr asks of drivers, as the service serves it."""

        def turn(ctx: Context, start: JsonObject) -> Generator[object, object, None]:
            return drive_run(cast("OrchestrationContext[object]", ctx), start)

        async def advance(_context: object, given: JsonObject) -> object:
            work = asyncio.run_coroutine_threadsafe(self._advance(given), self._loop)
            return await asyncio.wrap_future(work)

        runtime.register_workflow(turn, name=DRIVE_RUN)
        runtime.register_activity(advance, name=ADVANCE)

    async def schedule(self, drive: DriveInput) -> None:
        await self.driving.schedule(drive)
        self._asleep[drive.run].set()

    async def _advance(self, given: JsonObject) -> JsonValue:
        outcome = await self.parts.engine.advance(DriveInput.model_validate(given))
        return outcome.model_dump(mode="json")

    async def _start(self, workflow: BenchWorkflow, subject: str = "bench") -> str:
        event = CloudEvent(
            id=str(next(self._numbers)),
            source="/bench",
            type=workflow.event_type,
            subject=subject,
            data={"subject": "bench"},
        )
        with continued(_TRACE):
            accepted = await self.triggers.accept(_WHO, event, key=None)
        (run,) = accepted.runs
        self._expected_runs += 1
        self._expected_steps += workflow.steps
        return run

    async def _to_its_end(self, run: str) -> None:
        ended = await self.parts.ends.wait(run, _LONGEST_RUN_SECONDS)
        if ended is None or ended.status != "completed":
            raise RuntimeError(f"run {run} did not complete: {ended}")

    async def _until_asleep(self, run: str) -> None:
        """Until Dapr has been asked for a driver that sleeps on the run's behalf."""
        async with asyncio.timeout(_LONGEST_RUN_SECONDS):
            await self._asleep[run].wait()
        del self._asleep[run]

    async def _wake(self, run: str, subject: str) -> None:
        event = CloudEvent(id=str(next(self._numbers)), source="/bench", type=GO, subject=subject)
        ending = asyncio.create_task(self._to_its_end(run))
        accepted = await self.triggers.accept(_WHO, event, key=None)
        if accepted.woken != (run,):
            raise RuntimeError(f"the event woke {accepted.woken}, not {run}")
        await ending


@asynccontextmanager
async def open_engine(bench: Bench) -> AsyncGenerator[EngineSide]:
    background = Background()
    tracer_provider("workflow", "bench", TelemetrySettings())
    side = EngineSide(driving(cast(DriverClient, open_client(bench.dapr))))
    async with (
        Sidecar("workflow", bench.dapr) as sidecar,
        Signals.open(bench.redis_url, app_id="bench") as signals,
        open_database(
            bench.engine_url,
            app_id="workflow",
            settings=DatabaseSettings(),
            migrations=_MIGRATIONS,
            publisher=sidecar,
            hold=background.hold,
        ) as parts,
    ):
        await _assemble(side, sidecar, signals, parts, background)
        try:
            yield side
            await side.check(parts.database)
        finally:
            await background.close()


async def _assemble(
    side: EngineSide, sidecar: Sidecar, signals: Signals, parts: DatabaseParts, background: Background
) -> None:
    async def look() -> None:
        side.parts.leases.look()

    async def may_start(_conn: object, _run: object, _workflow: str) -> bool:
        return True

    outside = Outside(
        database=parts.database,
        caller=sidecar,
        sandbox=Sandbox("/", workers=1),
        blobs=sidecar.blobs,
        kinds=all_kinds().but(NO_HTTP),
        schedule=side.schedule,
        raise_event=side.driving.raise_event,
        spawn=background.start,
        moved=signals.notify,
        look=look,
        may_start=may_start,
    )
    side.parts = assemble(EngineSettings(), RetentionSettings(), outside)
    side.triggers = Triggers(parts.database, side.parts.starter, Deliveries(side.parts.control), parts.idempotency)
    for name, run in {**parts.loops, **side.parts.loops}.items():
        background.supervise(name, run)
    async with parts.database.tenant(_WHO.organization) as conn:
        for workflow in ALL:
            await definitions.add(conn, _WHO.organization, workflow.definition)
