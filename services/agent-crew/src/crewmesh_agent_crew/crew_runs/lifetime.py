"""Opening what drives crew runs, and keeping it running."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources, Service
from crewmesh_kit.background import Background
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.logs import get_logger
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.budgets.service import CHANNEL as BUDGETS
from crewmesh_agent_crew.crew_runs import asking_endpoints, endpoints
from crewmesh_agent_crew.crew_runs.asking import Asking
from crewmesh_agent_crew.crew_runs.beginning import Beginning
from crewmesh_agent_crew.crew_runs.driver import DUE, Driver
from crewmesh_agent_crew.crew_runs.following import Following
from crewmesh_agent_crew.crew_runs.journal import Journal
from crewmesh_agent_crew.crew_runs.leases import Leases
from crewmesh_agent_crew.crew_runs.parts import Parts
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.crew_runs.views import CrewRunViews
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.live.words import Words
from crewmesh_agent_crew.memory.service import Memories
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.settings import Settings
from crewmesh_agent_crew.statuses.service import Statuses
from crewmesh_agent_crew.tools.service import Tools
from crewmesh_agent_crew.turns.runner import TurnRunner

_BUDGET_SECONDS = 60.0

log = get_logger(__name__)


def run_crews(service: Service) -> None:
    """After what turns, tools, models and definitions need."""
    service.lifetime(_open_journal)
    service.lifetime(_open_leases)
    service.lifetime(_open_driver)
    service.lifetime(_open_crew_runs)
    service.lifetime(_open_asking)
    service.lifetime(_open_beginning)
    service.lifetime(_open_views)
    service.lifetime(_open_following)
    service.background("leases of crew runs", lambda resources: resources.get(Leases).run())
    service.background("crew runs", lambda resources: resources.get(Driver).run())
    service.background("crew runs that wait for budgets", _watch_budgets)
    service.routes(endpoints.router, asking_endpoints.router)


@asynccontextmanager
async def _open_journal(resources: Resources) -> AsyncGenerator[Journal]:
    yield Journal(resources.get(Database), lease_seconds=resources.get(Settings).crew_runs.lease_seconds)


@asynccontextmanager
async def _open_leases(resources: Resources) -> AsyncGenerator[Leases]:
    settings = resources.get(Settings).crew_runs
    leases = Leases(resources.get(Journal), resources.get(Signals), beat_seconds=settings.beat_seconds)
    try:
        yield leases
    finally:
        try:
            await leases.give_back()
        except DatabaseUnavailable as problem:
            log.warning("leases of crew runs run out by themselves", reason=problem.detail)


@asynccontextmanager
async def _open_driver(resources: Resources) -> AsyncGenerator[Driver]:
    parts = Parts(
        thinking=resources.get(Thinking),
        turns=resources.get(TurnRunner),
        tools=resources.get(Tools),
        memories=resources.get(Memories),
        words=resources.get(Words),
        statuses=resources.get(Statuses),
        lifecycle=resources.get(Lifecycle),
    )
    yield Driver(
        resources.get(Journal),
        resources.get(Leases),
        parts,
        resources.get(Signals),
        resources.get(Background),
        resources.get(Settings).crew_runs,
    )


@asynccontextmanager
async def _open_crew_runs(resources: Resources) -> AsyncGenerator[CrewRuns]:
    yield CrewRuns(
        resources.get(Database),
        resources.get(Signals),
        resources.get(Driver),
        most_queued=resources.get(Settings).crew_runs.most_queued,
    )


@asynccontextmanager
async def _open_asking(resources: Resources) -> AsyncGenerator[Asking]:
    yield Asking(
        resources.get(Database),
        resources.get(Sharing),
        resources.get(Resolver),
        resources.get(JsonSchemas),
        resources.get(CrewRuns),
    )


@asynccontextmanager
async def _open_beginning(resources: Resources) -> AsyncGenerator[Beginning]:
    yield Beginning(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(Resolver),
        resources.get(JsonSchemas),
        resources.get(CrewRuns),
    )


@asynccontextmanager
async def _open_views(resources: Resources) -> AsyncGenerator[CrewRunViews]:
    yield CrewRunViews(
        resources.get(Database), resources.get(Idempotency), resources.get(Sharing), resources.get(CrewRuns)
    )


@asynccontextmanager
async def _open_following(resources: Resources) -> AsyncGenerator[Following]:
    yield Following(resources.get(CrewRunViews), resources.get(CrewRuns), resources.get(Words), resources.get(Signals))


async def _watch_budgets(resources: Resources) -> None:
    """What waits for a budget is looked at again when one is topped up."""
    journal, signals = resources.get(Journal), resources.get(Signals)
    async with signals.listen(BUDGETS) as listener:
        while True:
            if await listener.changed(_BUDGET_SECONDS) and await journal.wake_waiting_for_budgets():
                signals.tell(DUE)
