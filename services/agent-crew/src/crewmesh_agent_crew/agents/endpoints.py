"""Agents over HTTP, as records that crews and workflows refer to by name."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter, Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import CHANGE_AGENT, SEE_AGENT
from crewmesh_agent_crew.agents.lookup import AGENTS
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.agents.schemas import Agent, AgentSummary
from crewmesh_agent_crew.agents.service import AgentService
from crewmesh_agent_crew.records.endpoints import (
    ArchivedOnes,
    Message,
    Prefix,
    Ref,
    Skill,
    Tag,
    created,
    tagged,
    unless_current,
)
from crewmesh_agent_crew.records.file_endpoints import file_router
from crewmesh_agent_crew.records.history_endpoints import history_router
from crewmesh_agent_crew.records.repository import Filters, RecordRepository
from crewmesh_agent_crew.role_prompts.files import presets_with

router = APIRouter(prefix="/v1/agents", tags=["agents"])

Reader = Annotated[Identity, reaching(SEE_AGENT)]
Writer = Annotated[Identity, reaching(CHANGE_AGENT)]
# Of new ones.
Maker = Annotated[Identity, requires("crews:write")]
Agents = Annotated[AgentService, provided(AgentService)]


@router.get("")
async def list_agents(
    identity: Reader,
    agents: Agents,
    page: PageQuery,
    prefix: Prefix = "",
    tag: Tag = None,
    skill: Skill = None,
    archived: ArchivedOnes = False,
) -> Page[AgentSummary]:
    """List the organization's agents, by name; those that are written down in a crew are shown with the crew."""
    filters = Filters(prefix, tag, skill, archived=archived, presets=presets_with(skill))
    return await agents.page(identity, filters, page)


@router.post("", status_code=201)
async def create_agent(
    definition: AgentDefinition, identity: Maker, agents: Agents, response: Response, key: IdempotencyKey = None
) -> Agent:
    """Add an agent. Crews refer to it by its name, and workflows ask it by that."""
    return created(await agents.create(identity, key, definition), response, AGENTS.path)


@router.get("/{ref}", responses=UNCHANGED)
async def get_agent(
    ref: Ref, identity: Reader, agents: Agents, response: Response, if_none_match: IfNoneMatch = None
) -> Agent:
    """Get an agent with its definition."""
    return unless_current(await agents.get(identity, ref), if_none_match, response)


@router.put("/{ref}")
async def change_agent(
    ref: Ref,
    definition: AgentDefinition,
    identity: Writer,
    agents: Agents,
    response: Response,
    message: Message = "",
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Agent:
    """Replace the definition, as a new version. Work that has begun goes on with the version it began with."""
    changed = await agents.change(identity, ref, definition, if_match=if_match, message=message, key=key)
    return tagged(changed, response)


history = history_router(AGENTS, AgentService, see=reaching(SEE_AGENT), change=reaching(CHANGE_AGENT))
files = file_router(AGENTS, AgentService, see=reaching(SEE_AGENT), make=requires("crews:write"))


async def agent_id(connection: AsyncConnection[DictRow], organization: str, ref: str) -> str:
    """For who manages access and need not see it."""
    return await RecordRepository(connection, organization, AGENTS).id_of(ref)
