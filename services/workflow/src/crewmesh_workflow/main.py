"""The workflow service, wired."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from crewmesh_contracts.events import EVENTS_TOPIC, OrganizationCreated
from crewmesh_kit import dead_letters
from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from fastapi import FastAPI

from crewmesh_workflow.definitions import endpoints as definitions
from crewmesh_workflow.definitions.service import open_definitions
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.lifetime import DAPR_DRIVERS, Drivers, open_engine, open_signals
from crewmesh_workflow.runs import endpoints as runs
from crewmesh_workflow.runs.service import open_runs
from crewmesh_workflow.runs.stream import open_streams
from crewmesh_workflow.seed.subscriptions import on_organization_event
from crewmesh_workflow.settings import WorkflowSettings
from crewmesh_workflow.triggers import endpoints as triggers
from crewmesh_workflow.triggers.service import open_triggers
from crewmesh_workflow.triggers.subscriptions import on_event

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def create_app(
    settings: WorkflowSettings | None = None, sidecar: Sidecar | None = None, drivers: Drivers = DAPR_DRIVERS
) -> FastAPI:
    settings = settings or WorkflowSettings()
    service = Service("workflow", settings, title="Crewmesh workflow", version="0.1.0", sidecar=sidecar)
    service.database(migrations=MIGRATIONS)

    service.lifetime(open_signals)
    service.lifetime(drivers.open_driving)
    service.lifetime(partial(open_engine, settings=settings.engine))
    service.lifetime(drivers.open_worker)
    service.background("leases", lambda resources: resources.get(Assembly).leases.run())
    service.background("sweeper", lambda resources: resources.get(Assembly).sweeper.run())

    service.lifetime(open_definitions)
    service.lifetime(open_triggers)
    service.lifetime(open_runs)
    service.lifetime(partial(open_streams, settings=settings.stream))
    service.subscribe(topic=EVENTS_TOPIC, handler=on_event)
    service.subscribe(topic=OrganizationCreated.topic, handler=on_organization_event)
    service.routes(triggers.router, definitions.router, runs.router, dead_letters.router)
    return service.app
