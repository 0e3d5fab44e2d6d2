"""Opening conversations, and keeping their ends written down."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources, Service
from crewmesh_kit.background import Background
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.catalogue.service import Catalogue
from crewmesh_agent_crew.conversations import endpoints, message_endpoints
from crewmesh_agent_crew.conversations.afterthoughts import Afterthoughts
from crewmesh_agent_crew.conversations.service import Conversations
from crewmesh_agent_crew.conversations.settling import Settling
from crewmesh_agent_crew.conversations.stream import Streams
from crewmesh_agent_crew.conversations.talking import Talking
from crewmesh_agent_crew.conversations.works import Works
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.crew_runs.views import CrewRunViews
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.live.words import Words
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.tools.service import Tools


def install(service: Service) -> None:
    """After crew runs."""
    service.lifetime(_open_works)
    service.lifetime(_open_settling)
    service.lifetime(_open_conversations)
    service.lifetime(_open_talking)
    service.lifetime(_open_streams)
    service.background("ends of answers", lambda resources: resources.get(Settling).keep_settling())
    service.routes(endpoints.router, message_endpoints.router)


@asynccontextmanager
async def _open_works(resources: Resources) -> AsyncGenerator[Works]:
    yield Works(resources.get(Resolver), resources.get(Catalogue))


@asynccontextmanager
async def _open_settling(resources: Resources) -> AsyncGenerator[Settling]:
    database, signals = resources.get(Database), resources.get(Signals)
    afterthoughts = Afterthoughts(
        database,
        resources.get(Thinking),
        resources.get(Works),
        signals,
        resources.get(CrewRuns),
        resources.get(Tools),
    )
    yield Settling(
        database,
        resources.get(CrewRuns),
        resources.get(Words),
        signals,
        resources.get(Background),
        afterthoughts.after,
    )


@asynccontextmanager
async def _open_conversations(resources: Resources) -> AsyncGenerator[Conversations]:
    yield Conversations(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(Works),
        resources.get(CrewRuns),
        resources.get(Settling),
        resources.get(Signals),
    )


@asynccontextmanager
async def _open_talking(resources: Resources) -> AsyncGenerator[Talking]:
    yield Talking(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(Works),
        resources.get(CrewRuns),
        resources.get(CrewRunViews),
        resources.get(Signals),
    )


@asynccontextmanager
async def _open_streams(resources: Resources) -> AsyncGenerator[Streams]:
    yield Streams(
        resources.get(Database),
        resources.get(Conversations),
        resources.get(Settling),
        resources.get(CrewRunViews),
        resources.get(Words),
        resources.get(Signals),
    )
