"""What can be done with crews."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files

import yaml
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent
from crewmesh_kit import audit
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.inbox import first_time
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import RUN, SEE
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.errors import CrewExists, CrewNotFound
from crewmesh_agent_crew.crews.models import CrewDefinition, name_of
from crewmesh_agent_crew.crews.repository import CrewRepository
from crewmesh_agent_crew.crews.schemas import Crew, CrewSummary

_CONSUMER = "starter-crews"

log = get_logger(__name__)


class CrewService:
    def __init__(self, database: Database, idempotency: Idempotency, sharing: Sharing) -> None:
        self._database = database
        self._idempotency = idempotency
        self._sharing = sharing

    async def get(self, identity: Identity, name: str, need: Need) -> Crew:
        """The crew; one that is hidden from ``identity`` is not found."""
        async with self._database.tenant(identity.organization) as connection:
            crew = await found(connection, name)
            await self._sharing.ensure(connection, identity, need, crew.id, unknown=CrewNotFound(name))
        return crew

    async def agents_called(self, identity: Identity, name: str) -> dict[str, AgentDefinition]:
        """Agents of that name or role, by the crew they belong to, among those that ``identity`` may set to work."""
        async with self._database.tenant(identity.organization) as connection:
            reach = await self._sharing.reach(connection, identity, RUN)
            return await CrewRepository(connection).agents_called(name, reach)

    async def page(self, identity: Identity, wanted: PageRequest) -> Page[CrewSummary]:
        after = wanted.after_text()
        async with self._database.tenant(identity.organization) as connection:
            reach = await self._sharing.reach(connection, identity, SEE)
            crews = await CrewRepository(connection).list_after(after, wanted.limit + 1, reach)
        return wanted.page([_summary(crew) for crew in crews], lambda crew: (crew.name,))

    async def create(self, identity: Identity, key: str | None, definition: CrewDefinition) -> Crew:
        async with self._database.tenant(identity.organization) as connection:

            async def add() -> Crew:
                crew = await CrewRepository(connection).add(identity.organization, definition)
                if crew is None:
                    raise CrewExists(definition.name)
                told: JsonObject = {"name": definition.name, "agents": [name_of(agent) for agent in definition.agents]}
                await audit.record(connection, identity, "crew.created", crew.id, after=told)
                return crew

            return await self._idempotency.once_in(
                connection, identity=identity, scope="create-crew", key=key, request=definition, work=add
            )

    async def give_starters(self, organization: str, event: CloudEvent) -> None:
        """A new organization gets the crews shipped with the service; one it has by that name already stays."""
        async with self._database.tenant(organization) as connection:
            if not await first_time(connection, _CONSUMER, event):
                return
            for definition in starter_crews():
                added = await CrewRepository(connection).add(organization, definition)
                log.info("starter crew", crew=definition.name, added=added is not None, organization=organization)


async def found(connection: AsyncConnection[DictRow], name: str) -> Crew:
    crew = await CrewRepository(connection).find(name)
    if crew is None:
        raise CrewNotFound(name)
    return crew


async def crew_id(connection: AsyncConnection[DictRow], _organization: str, name: str) -> str:
    return (await found(connection, name)).id


def _summary(crew: Crew) -> CrewSummary:
    return CrewSummary(
        id=crew.id,
        name=crew.definition.name,
        description=crew.definition.description,
        agents=tuple(name_of(agent) for agent in crew.definition.agents),
        version=crew.version,
        created_at=crew.created_at,
    )


@cache
def starter_crews() -> tuple[CrewDefinition, ...]:
    """The definitions in the folder ``starters``."""
    folder = files("crewmesh_agent_crew.crews").joinpath("starters")
    return tuple(
        CrewDefinition.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    )


@asynccontextmanager
async def open_crews(resources: Resources) -> AsyncGenerator[CrewService]:
    yield CrewService(resources.get(Database), resources.get(Idempotency), resources.get(Sharing))
