"""Opening what tells and shows statuses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources, Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.live.streams import connected
from crewmesh_agent_crew.statuses import endpoints
from crewmesh_agent_crew.statuses.board import Board
from crewmesh_agent_crew.statuses.service import Statuses
from crewmesh_agent_crew.statuses.views import StatusViews


def install(service: Service) -> None:
    """After signals and sharing, and before the routes of agents, of whom none can be called ``statuses``."""
    service.lifetime(_open_statuses)
    service.lifetime(_open_views)
    service.background("statuses of agents", lambda resources: resources.get(Statuses).keep_telling())
    service.routes(endpoints.router)


@asynccontextmanager
async def _open_statuses(resources: Resources) -> AsyncGenerator[Statuses]:
    sidecar = resources.get(Sidecar)
    async with connected(await sidecar.secret("redis-url")) as client:
        yield Statuses(Board(client), resources.get(Signals), sidecar)


@asynccontextmanager
async def _open_views(resources: Resources) -> AsyncGenerator[StatusViews]:
    yield StatusViews(resources.get(Statuses), resources.get(Signals), resources.get(Database), resources.get(Sharing))
