"""The engine inside the running service: with its Dapr client, its signals and its place among the background work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.background import Background
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.dapr.worker import WorkflowWorker
from crewmesh_kit.db.database import Database
from crewmesh_kit.health import Readiness
from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import ServiceSettings
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import RUN_FROM_WORKFLOW, as_workflow
from crewmesh_workflow.engine.assembly import Assembly, Outside, assemble
from crewmesh_workflow.engine.commits import Run
from crewmesh_workflow.engine.driver import ADVANCE, DRIVE_RUN, drive_run
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.scheduling import Driving, open_driving
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.sandbox.service import Sandbox
from crewmesh_workflow.settings import WorkflowSettings

# The signal by which replicas have each other look at their leases.
_LOOK = "leases"
_LISTEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Drivers:
    """What drives runs that wait: Dapr, or a test's own hand."""

    open_driving: Callable[[Resources], AbstractAsyncContextManager[Driving]]
    open_worker: Callable[[Resources], AbstractAsyncContextManager[object]]


@asynccontextmanager
async def open_worker(resources: Resources) -> AsyncGenerator[WorkflowWorker]:
    """Drivers and their activity, served to Dapr by this replica."""
    engine, background = resources.get(Assembly).engine, resources.get(Background)

    async def advance(given: JsonValue) -> JsonValue:
        with background.hold():
            outcome = await engine.advance(DriveInput.model_validate(given))
        return outcome.model_dump(mode="json")

    worker = WorkflowWorker(resources.get(ServiceSettings).dapr, resources.get(Sidecar))
    worker.workflow(DRIVE_RUN, drive_run)
    worker.activity(ADVANCE, advance)
    async with worker.running():
        resources.get(Readiness).add("workflow worker", worker.why_not_ready)
        yield worker


DAPR_DRIVERS = Drivers(open_driving, open_worker)


@asynccontextmanager
async def open_engine(resources: Resources, *, settings: WorkflowSettings) -> AsyncGenerator[Assembly]:
    sidecar, signals = resources.get(Sidecar), resources.get(Signals)
    driving = resources.get(Driving)
    outside = Outside(
        database=resources.get(Database),
        caller=sidecar,
        sandbox=resources.get(Sandbox),
        blobs=sidecar.blobs,
        kinds=all_kinds(),
        schedule=driving.schedule,
        raise_event=driving.raise_event,
        spawn=resources.get(Background).start,
        moved=signals.notify,
        look=partial(signals.notify, _LOOK),
        may_start=partial(_may_start, resources.get(Sharing)),
    )
    parts = assemble(settings.engine, settings.retention, outside)
    try:
        yield parts
    finally:
        await parts.leases.give_back()


async def _may_start(sharing: Sharing, conn: AsyncConnection[DictRow], run: Run, workflow: str) -> bool:
    who = as_workflow(run.organization, run.workflow, run.id)
    return await sharing.reaches(conn, who, RUN_FROM_WORKFLOW, workflow)


async def hear_looks(resources: Resources) -> None:
    """Look at the leases that are held here whenever any replica says so."""
    leases = resources.get(Assembly).leases
    async with resources.get(Signals).listen(_LOOK) as listener:
        while True:
            if await listener.changed(_LISTEN_SECONDS):
                leases.look()
