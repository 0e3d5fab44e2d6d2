"""Crews over HTTP. Squads are crews."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter, Query, Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import CHANGE, SEE
from crewmesh_agent_crew.crews.models import CrewDefinition, Process
from crewmesh_agent_crew.crews.repository import CREWS
from crewmesh_agent_crew.crews.schemas import Crew, CrewSummary, CrewTemplate, template_of
from crewmesh_agent_crew.crews.service import CrewService
from crewmesh_agent_crew.crews.shipped import crew_templates
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

router = APIRouter(prefix="/v1/crews", tags=["crews"])

Reader = Annotated[Identity, reaching(SEE)]
Writer = Annotated[Identity, reaching(CHANGE)]
# Of new ones.
Maker = Annotated[Identity, requires("crews:write")]
Crews = Annotated[CrewService, provided(CrewService)]


@router.get("")
async def list_crews(
    identity: Reader,
    crews: Crews,
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


@router.post("", status_code=201)
async def create_crew(
    definition: CrewDefinition, identity: Maker, crews: Crews, response: Response, key: IdempotencyKey = None
) -> Crew:
    """Add a crew. Agents are written down in it, or are agents of the organization by their names."""
    return created(await crews.create(identity, key, definition), response, CREWS.path)


@router.get("/templates")
async def list_crew_templates(identity: Reader, page: PageQuery) -> Page[CrewTemplate]:
    """List crews that are shipped to be made one's own: change what does not fit, and add them with POST /v1/crews."""
    _ = identity
    after = page.after_text() or ""
    found = [template_of(crew) for name, crew in crew_templates().items() if name > after]
    return page.page(found[: page.limit + 1], lambda template: (template.name,))


@router.get("/{ref}", responses=UNCHANGED)
async def get_crew(
    ref: Ref, identity: Reader, crews: Crews, response: Response, if_none_match: IfNoneMatch = None
) -> Crew:
    """Get a crew with its definition."""
    return unless_current(await crews.get(identity, ref), if_none_match, response)


@router.put("/{ref}")
async def change_crew(
    ref: Ref,
    definition: CrewDefinition,
    identity: Writer,
    crews: Crews,
    response: Response,
    message: Message = "",
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Crew:
    """Replace the definition, as a new version. Work that has begun goes on with the version it began with."""
    changed = await crews.change(identity, ref, definition, if_match=if_match, message=message, key=key)
    return tagged(changed, response)


history = history_router(CREWS, CrewService, see=reaching(SEE), change=reaching(CHANGE))
files = file_router(CREWS, CrewService, see=reaching(SEE), make=requires("crews:write"))


async def crew_id(connection: AsyncConnection[DictRow], organization: str, ref: str) -> str:
    """For who manages access and need not see it."""
    return await RecordRepository(connection, organization, CREWS).id_of(ref)
