"""The workflow service, wired."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from crewmesh_contracts.events import EVENTS_TOPIC, OrganizationCreated, OrganizationStatusChanged
from crewmesh_kit import dead_letters
from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.sharing.endpoints import access_router
from crewmesh_kit.sharing.service import open_sharing
from crewmesh_kit.signals import open_signals
from fastapi import FastAPI

from crewmesh_workflow.access import WORKFLOW
from crewmesh_workflow.approvals import endpoints as approvals
from crewmesh_workflow.approvals import link_endpoints as approval_links
from crewmesh_workflow.approvals.lifetime import open_approvals, open_links
from crewmesh_workflow.approvals.reminders import Reminders
from crewmesh_workflow.code_runs import endpoints as code_runs
from crewmesh_workflow.definitions import endpoints as definitions
from crewmesh_workflow.definitions.lookup import workflow_id
from crewmesh_workflow.definitions.service import open_definitions
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.lifetime import DAPR_DRIVERS, Drivers, hear_looks, open_engine
from crewmesh_workflow.hooks import endpoints as hooks
from crewmesh_workflow.hooks.service import open_hooks
from crewmesh_workflow.runs import endpoints as runs
from crewmesh_workflow.runs.again import open_again
from crewmesh_workflow.runs.control import open_control
from crewmesh_workflow.runs.retention import RUNS_BY_AGE, Retention, open_retention
from crewmesh_workflow.runs.service import open_runs
from crewmesh_workflow.runs.starts import open_starts
from crewmesh_workflow.runs.stream import open_streams
from crewmesh_workflow.sandbox.service import open_sandbox
from crewmesh_workflow.schedules import endpoints as schedules
from crewmesh_workflow.schedules.clock import Clock
from crewmesh_workflow.schedules.lifetime import open_clock
from crewmesh_workflow.seed.subscriptions import on_organization_event
from crewmesh_workflow.settings import WorkflowSettings
from crewmesh_workflow.standstill.subscriptions import on_status_changed
from crewmesh_workflow.triggers import endpoints as triggers
from crewmesh_workflow.triggers.ended import EndedRuns
from crewmesh_workflow.triggers.lifetime import open_triggers
from crewmesh_workflow.triggers.listing import open_listing
from crewmesh_workflow.triggers.looking_back import LookingBack
from crewmesh_workflow.triggers.subscriptions import on_event

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def create_app(
    settings: WorkflowSettings | None = None, sidecar: Sidecar | None = None, drivers: Drivers = DAPR_DRIVERS
) -> FastAPI:
    settings = settings or WorkflowSettings()
    service = Service(
        "workflow", settings, title="Crewmesh workflow", version=version("crewmesh-workflow"), sidecar=sidecar
    )
    service.database(migrations=MIGRATIONS)
    _engine(service, settings, drivers)
    _features(service, settings)
    service.subscribe(topic=EVENTS_TOPIC, handler=on_event)
    service.subscribe(topic=OrganizationCreated.topic, handler=on_organization_event)
    service.subscribe(topic=OrganizationStatusChanged.topic, handler=on_status_changed)
    service.owned_data(RUNS_BY_AGE)
    # What is asked for most comes first: a request's path is held against one route after the other.
    service.routes(runs.router, hooks.router, triggers.router, triggers.of_workflow, schedules.router)
    service.routes(definitions.router, access_router(WORKFLOW, workflow_id))
    service.routes(approvals.router, approval_links.router, code_runs.router, dead_letters.router)
    return service.app


def _engine(service: Service, settings: WorkflowSettings, drivers: Drivers) -> None:
    service.lifetime(open_signals)
    service.lifetime(open_sharing)
    service.lifetime(open_sandbox)
    service.lifetime(drivers.open_driving)
    service.lifetime(partial(open_engine, settings=settings))
    service.lifetime(drivers.open_worker)
    service.background("leases", lambda resources: resources.get(Assembly).leases.run())
    service.background("leases looked at", hear_looks)
    service.background("sweeper", lambda resources: resources.get(Assembly).sweeper.run())
    service.background("control", lambda resources: resources.get(Assembly).control.run())
    service.background("orphans", lambda resources: resources.get(Assembly).control.look_for_orphans())


def _features(service: Service, settings: WorkflowSettings) -> None:
    service.lifetime(open_definitions)
    service.lifetime(open_triggers)
    service.background("events looked back at", lambda resources: resources.get(LookingBack).run())
    service.background("triggers of ended runs", lambda resources: resources.get(EndedRuns).run())
    service.lifetime(open_hooks)
    service.lifetime(open_listing)
    service.lifetime(open_clock)
    service.background("clock", lambda resources: resources.get(Clock).run())
    service.lifetime(open_runs)
    service.lifetime(open_starts)
    service.lifetime(open_again)
    service.lifetime(open_control)
    service.lifetime(partial(open_streams, settings=settings.stream))
    service.lifetime(partial(open_retention, settings=settings.retention))
    service.background("retention", lambda resources: resources.get(Retention).run())
    service.lifetime(open_approvals)
    service.lifetime(open_links)
    service.background("approvals", lambda resources: resources.get(Reminders).run())
