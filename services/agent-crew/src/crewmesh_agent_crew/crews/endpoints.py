"""Crews over HTTP. Squads are crews."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter, Query

from crewmesh_agent_crew.access import SEE
from crewmesh_agent_crew.crews.models import Process
from crewmesh_agent_crew.crews.repository import CREWS
from crewmesh_agent_crew.crews.schemas import CrewSummary, CrewTemplate, template_of
from crewmesh_agent_crew.crews.service import CrewService
from crewmesh_agent_crew.crews.shipped import crew_templates
from crewmesh_agent_crew.records.endpoints import ArchivedOnes, Prefix, Skill, Tag, record_routers
from crewmesh_agent_crew.records.repository import Filters
from crewmesh_agent_crew.role_prompts.files import presets_with

router = APIRouter(prefix="/v1/crews", tags=["crews"])
records = record_routers(CREWS, CrewService)

Reader = Annotated[Identity, reaching(SEE)]


@router.get("")
async def list_crews(
    identity: Reader,
    crews: Annotated[CrewService, provided(CrewService)],
    page: PageQuery,
    prefix: Prefix = "",
    tag: Tag = None,
    skill: Skill = None,
    process: Annotated[Process | None, Query(description="Only those that work so.")] = None,
    archived: ArchivedOnes = False,
) -> Page[CrewSummary]:
    """List the organization's crews, by name."""
    filters = Filters(prefix, tag, skill, process, archived=archived, presets=presets_with(skill))
    return await crews.page(identity, filters, page)


@router.get("/templates")
async def list_crew_templates(identity: Reader, page: PageQuery) -> Page[CrewTemplate]:
    """List crews that are shipped to be made one's own: change what does not fit, and add them with POST /v1/crews."""
    _ = identity
    after = page.after_text() or ""
    found = [template_of(crew) for name, crew in crew_templates().items() if name > after]
    return page.page(found[: page.limit + 1], lambda template: (template.name,))
