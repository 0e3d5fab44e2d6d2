"""Crew runs over HTTP: setting crews and agents to work, what they did and say, deciding what they ask."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.http.sse import EVENTS, EventStream
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter, Header, Query, Response

from crewmesh_agent_crew.access import RUN, RUN_AGENT, SEE
from crewmesh_agent_crew.crew_runs.beginning import Beginning
from crewmesh_agent_crew.crew_runs.following import Following
from crewmesh_agent_crew.crew_runs.models import Kind, Status
from crewmesh_agent_crew.crew_runs.schemas import (
    AgentRunRequest,
    CrewRun,
    CrewRunMessage,
    CrewRunQuestion,
    CrewRunRequest,
    CrewRunSummary,
    Decision,
)
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.crew_runs.views import CrewRunViews

router = APIRouter(tags=["crew-runs"])

Reader = Annotated[Identity, reaching(SEE)]
Steerer = Annotated[Identity, reaching(RUN)]
Views = Annotated[CrewRunViews, provided(CrewRunViews)]
Begins = Annotated[Beginning, provided(Beginning)]
Runs = Annotated[CrewRuns, provided(CrewRuns)]
Wait = Annotated[float, Query(ge=0, le=50, description="Seconds to wait for it to end, or to wait for people.")]
Name = Annotated[str | None, Query(max_length=100)]


@router.post("/v1/crews/{name}/runs", status_code=201)
async def run_crew(
    name: str,
    request: CrewRunRequest,
    identity: Annotated[Identity, reaching(RUN)],
    begins: Begins,
    views: Views,
    runs: Runs,
    key: IdempotencyKey,
    response: Response,
    wait: Wait = 0,
) -> CrewRun:
    """Set the crew to work. It goes on by itself; what it is asked to decide on is in its questions."""
    crew_run = await begins.crew(identity, key, name, request)
    return await _begun(crew_run, identity, views, runs, response, wait)


@router.post("/v1/agents/{name}/runs", status_code=201)
async def run_agent(
    name: str,
    request: AgentRunRequest,
    identity: Annotated[Identity, reaching(RUN_AGENT)],
    begins: Begins,
    views: Views,
    runs: Runs,
    key: IdempotencyKey,
    response: Response,
    wait: Wait = 0,
) -> CrewRun:
    """Give the agent a task: a record, or one that a crew has under this name or role."""
    crew_run = await begins.agent(identity, key, name, request)
    return await _begun(crew_run, identity, views, runs, response, wait)


async def _begun(
    crew_run: str, identity: Identity, views: CrewRunViews, runs: CrewRuns, response: Response, wait: float
) -> CrewRun:
    response.headers["Location"] = f"/v1/crew-runs/{crew_run}"
    if wait:
        await runs.wait(identity.organization, crew_run, wait)
    return await views.steered(identity, crew_run)


@router.get("/v1/crew-runs")
async def list_crew_runs(
    identity: Reader,
    views: Views,
    page: PageQuery,
    status: Status | None = None,
    kind: Kind | None = None,
    crew: Name = None,
    agent: Name = None,
    from_: Annotated[datetime | None, Query(alias="from")] = None,
    to: datetime | None = None,
) -> Page[CrewRunSummary]:
    """What crews and agents did and do, the newest first. Of chats, one's own."""
    return await views.page(identity, page, status=status, kind=kind, crew=crew, agent=agent, since=from_, until=to)


@router.get("/v1/crew-runs/{crew_run}")
async def get_crew_run(crew_run: str, identity: Reader, views: Views) -> CrewRun:
    """How far it is, what came of it, what it used."""
    return await views.get(identity, crew_run)


@router.get("/v1/crew-runs/{crew_run}/messages")
async def list_crew_run_messages(
    crew_run: str, identity: Reader, views: Views, page: PageQuery
) -> Page[CrewRunMessage]:
    """Every word between its agents, tools and people, in order."""
    return await views.messages(identity, crew_run, page)


@router.get("/v1/crew-runs/{crew_run}/events", response_class=EventStream, responses=EVENTS)
async def follow_crew_run(
    crew_run: str,
    identity: Reader,
    views: Views,
    following: Annotated[Following, provided(Following)],
    lifecycle: Annotated[Lifecycle, provided(Lifecycle)],
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> EventStream:
    """Messages (``message``), what becomes of the run (``status``), and words while they are said (``words``).

    It ends with the run. A client that comes back with Last-Event-ID, to any replica, misses no message.
    """
    await views.get(identity, crew_run)
    return EventStream(following.follow(identity, crew_run, last_event_id), lifecycle)


@router.get("/v1/crew-runs/{crew_run}/questions")
async def list_crew_run_questions(crew_run: str, identity: Reader, views: Views) -> Page[CrewRunQuestion]:
    """What it asked, decided or not."""
    return Page(items=tuple(await views.questions(identity, crew_run)))


@router.post("/v1/crew-runs/{crew_run}/questions/{question}/decisions")
async def decide_crew_run_question(
    crew_run: str, question: str, decision: Decision, identity: Steerer, views: Views, key: IdempotencyKey
) -> CrewRunQuestion:
    """Say yes or no to the use of a tool, or yes with other arguments. The work then goes on."""
    return await views.decide(identity, crew_run, question, decision, key=key)


@router.post("/v1/crew-runs/{crew_run}/cancel", status_code=202)
async def cancel_crew_run(crew_run: str, identity: Steerer, views: Views) -> CrewRun:
    """End it: the answer that is under way is broken off, and nothing more is asked."""
    return await views.cancel(identity, crew_run)
