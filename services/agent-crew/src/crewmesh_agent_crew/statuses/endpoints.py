"""``GET /v1/agents/statuses``, and its stream."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.pagination import Page
from crewmesh_kit.http.sse import EVENTS, EventStream
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter

from crewmesh_agent_crew.access import SEE_AGENT
from crewmesh_agent_crew.statuses.models import AgentStatus
from crewmesh_agent_crew.statuses.views import StatusViews

router = APIRouter(prefix="/v1/agents/statuses", tags=["agents"])

Reader = Annotated[Identity, reaching(SEE_AGENT)]
Views = Annotated[StatusViews, provided(StatusViews)]


@router.get("", summary="Agents at work")
async def list_statuses(identity: Reader, views: Views) -> Page[AgentStatus]:
    """What agents do right now: thinking, calling a tool, waiting for people. Whoever is not listed is idle."""
    return Page(items=tuple(await views.seen_by(identity)))


@router.get("/events", response_class=EventStream, responses=EVENTS, summary="Follow what agents do")
async def follow_statuses(
    identity: Reader, views: Views, lifecycle: Annotated[Lifecycle, provided(Lifecycle)]
) -> EventStream:
    """Everybody at work first, then each that changes, twice a second at most. Who comes back begins anew."""
    return EventStream(views.follow(identity), lifecycle)
