"""Every route that a kind of record has because it is one, and what its list can be asked for.

What a kind has beside, its list among it, stands in its own endpoints.
"""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import Slug
from crewmesh_kit.identity import requires
from crewmesh_kit.sharing.endpoints import access_router, reaching
from fastapi import APIRouter, Query
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.records.definition_endpoints import definition_router
from crewmesh_agent_crew.records.file_endpoints import file_router
from crewmesh_agent_crew.records.history_endpoints import history_router
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.repository import RecordRepository
from crewmesh_agent_crew.records.routes import Asks
from crewmesh_agent_crew.records.service import Records
from crewmesh_agent_crew.records.shelf import Shelf

Prefix = Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9_-]*$", description="Only those whose name begins so.")]
Tag = Annotated[Slug | None, Query(description="Only those with this tag.")]
Skill = Annotated[Slug | None, Query(description="Only those with this skill, of their own or of their preset.")]
ArchivedOnes = Annotated[bool, Query(description="Only archived ones, which go by their ids.")]


def record_routers(shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]]) -> tuple[APIRouter, ...]:
    asks = Asks(
        see=requires("crews:read") if shelf.see is None else reaching(shelf.see),
        change=requires("crews:write") if shelf.change is None else reaching(shelf.change),
        make=requires("crews:write"),
    )
    routers = (
        definition_router(shelf, service, asks),
        history_router(shelf, service, asks),
        file_router(shelf, service, asks),
    )
    if shelf.see is None:
        return routers

    async def id_of(connection: AsyncConnection[DictRow], organization: str, ref: str) -> str:
        return await RecordRepository(connection, organization, shelf).id_of(ref)

    return (*routers, access_router(shelf.see.kind, id_of))
