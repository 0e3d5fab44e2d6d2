"""Agents over HTTP, as records that crews and workflows refer to by name."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter

from crewmesh_agent_crew.access import SEE_AGENT
from crewmesh_agent_crew.agents.lookup import AGENTS
from crewmesh_agent_crew.agents.schemas import AgentSummary
from crewmesh_agent_crew.agents.service import AgentService
from crewmesh_agent_crew.records.endpoints import ArchivedOnes, Prefix, Skill, Tag, record_routers
from crewmesh_agent_crew.records.repository import Filters
from crewmesh_agent_crew.role_prompts.files import presets_with

router = APIRouter(prefix="/v1/agents", tags=["agents"])
records = record_routers(AGENTS, AgentService)


@router.get("")
async def list_agents(
    identity: Annotated[Identity, reaching(SEE_AGENT)],
    agents: Annotated[AgentService, provided(AgentService)],
    page: PageQuery,
    prefix: Prefix = "",
    tag: Tag = None,
    skill: Skill = None,
    archived: ArchivedOnes = False,
) -> Page[AgentSummary]:
    """List the organization's agents, by name; those that are written down in a crew are shown with the crew."""
    filters = Filters(prefix, tag, skill, archived=archived, presets=presets_with(skill))
    return await agents.page(identity, filters, page)
