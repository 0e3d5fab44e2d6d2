"""What can be done with crews as records. Everything they refer to must be there when they are saved."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.inbox import first_time
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.crews.examining import Examiner
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.repository import CREWS
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.crews.schemas import CrewSummary
from crewmesh_agent_crew.crews.shipped import starter_crews
from crewmesh_agent_crew.records.findings import Findings
from crewmesh_agent_crew.records.mistakes import Mistake
from crewmesh_agent_crew.records.repository import Filters, RecordRepository, Stored
from crewmesh_agent_crew.records.service import Records

_CONSUMER = "starter-crews"
_BY_THE_PLATFORM = "crewmesh"

log = get_logger(__name__)


class CrewService(Records[CrewDefinition]):
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        sharing: Sharing,
        resolver: Resolver,
        examiner: Examiner,
    ) -> None:
        super().__init__(CREWS, database, idempotency, sharing)
        self._resolver = resolver
        self._examiner = examiner

    async def asked_about(self, organization: str, definition: CrewDefinition) -> Findings:
        return await self._examiner.crew(organization, definition)

    async def mistakes(
        self, connection: AsyncConnection[DictRow], identity: Identity, definition: CrewDefinition
    ) -> Sequence[Mistake]:
        _, mistakes = await self._resolver.filled(connection, identity, definition, hold=True)
        return mistakes

    async def page(self, identity: Identity, filters: Filters, wanted: PageRequest) -> Page[CrewSummary]:
        found = await self.found(identity, filters, wanted)
        return wanted.page([_summary(stored) for stored in found], lambda crew: (crew.name,))

    async def give_starters(self, organization: str, event: CloudEvent) -> None:
        """A new organization gets the crews shipped with the service; one it has by that name already stays."""
        async with self.database.tenant(organization) as connection:
            if not await first_time(connection, _CONSUMER, event):
                return
            repository = RecordRepository(connection, organization, CREWS)
            for definition in starter_crews():
                added = await repository.add(definition, by=_BY_THE_PLATFORM)
                log.info("starter crew", crew=definition.name, added=added is not None, organization=organization)


def _summary(stored: Stored) -> CrewSummary:
    """Of the definition as it is kept, so that one which today's rules refuse does not spoil the list."""
    members = cast("list[JsonObject]", stored.definition["agents"])
    names = [member.get("use") or member.get("name") for member in members]
    return CrewSummary.model_validate({**stored.definition, **stored.listed(), "agents": names})


@asynccontextmanager
async def open_crews(resources: Resources) -> AsyncGenerator[CrewService]:
    yield CrewService(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(Sharing),
        resources.get(Resolver),
        resources.get(Examiner),
    )
