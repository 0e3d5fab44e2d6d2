"""Crews over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import etag_of, is_current
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter, Header, Response

from crewmesh_agent_crew.access import SEE
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.schemas import Crew, CrewSummary
from crewmesh_agent_crew.crews.service import CrewService

router = APIRouter(prefix="/v1/crews", tags=["crews"])

Reader = Annotated[Identity, reaching(SEE)]
Writer = Annotated[Identity, requires("crews:write")]
Crews = Annotated[CrewService, provided(CrewService)]


@router.get("")
async def list_crews(identity: Reader, crews: Crews, page: PageQuery) -> Page[CrewSummary]:
    """The organization's crews, by name."""
    return await crews.page(identity, page)


@router.get("/{name}", responses={304: {"description": "Not changed since the ETag that was sent."}})
async def get_crew(
    name: str, identity: Reader, crews: Crews, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> Crew:
    """One crew with its definition."""
    crew = await crews.get(identity, name, SEE)
    response.headers["ETag"] = etag_of(crew.version)
    if is_current(if_none_match, crew.version):
        response.status_code = 304
    return crew


@router.post("", status_code=201)
async def create_crew(
    definition: CrewDefinition, identity: Writer, crews: Crews, response: Response, key: IdempotencyKey
) -> Crew:
    """Add a crew."""
    crew = await crews.create(identity, key, definition)
    response.headers["ETag"] = etag_of(crew.version)
    response.headers["Location"] = f"/v1/crews/{crew.definition.name}"
    return crew
