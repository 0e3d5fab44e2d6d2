"""What can be done with agents as records. An agent that is in a crew cannot be archived."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.agents.lookup import AGENTS
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.agents.schemas import AgentSummary
from crewmesh_agent_crew.crews.examining import Examiner
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.crews.uses import Uses
from crewmesh_agent_crew.records.findings import Findings
from crewmesh_agent_crew.records.mistakes import Mistake
from crewmesh_agent_crew.records.repository import Filters, Stored
from crewmesh_agent_crew.records.service import Records


class AgentService(Records[AgentDefinition]):
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        sharing: Sharing,
        resolver: Resolver,
        examiner: Examiner,
    ) -> None:
        super().__init__(AGENTS, database, idempotency, sharing)
        self._resolver = resolver
        self._examiner = examiner

    async def asked_about(self, organization: str, definition: AgentDefinition) -> Findings:
        return await self._examiner.agent(organization, definition)

    async def mistakes(
        self, connection: AsyncConnection[DictRow], identity: Identity, definition: AgentDefinition
    ) -> Sequence[Mistake]:
        _, mistakes = await self._resolver.filled_agent(connection, identity, definition, hold=True)
        return mistakes

    async def used_by(self, connection: AsyncConnection[DictRow], identity: Identity, name: str) -> Sequence[str]:
        return await Uses(connection, self.sharing, identity).of_agent(name)

    async def page(self, identity: Identity, filters: Filters, wanted: PageRequest) -> Page[AgentSummary]:
        found = await self.found(identity, filters, wanted)
        return wanted.page([_summary(stored) for stored in found], lambda agent: (agent.name,))


def _summary(stored: Stored) -> AgentSummary:
    tools = cast("list[JsonObject]", stored.definition.get("tools", []))
    return AgentSummary.model_validate(
        {**stored.definition, **stored.listed(), "tools": [tool["name"] for tool in tools]}
    )


@asynccontextmanager
async def open_agents(resources: Resources) -> AsyncGenerator[AgentService]:
    yield AgentService(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(Sharing),
        resources.get(Resolver),
        resources.get(Examiner),
    )
