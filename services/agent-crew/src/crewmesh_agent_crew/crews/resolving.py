"""Crews and agents as they begin to work: found, allowed, and complete, so that nothing changes under them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from crewmesh_kit.app import Resources
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import RUN
from crewmesh_agent_crew.agents.errors import AmbiguousAgent, UnknownAgent
from crewmesh_agent_crew.agents.lookup import runnable
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.errors import CrewCannotWork, UnknownCrew
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.repository import CREWS, CrewRepository
from crewmesh_agent_crew.crews.resolution import Filling, prompt_uses, references
from crewmesh_agent_crew.prompt_templates.lookup import templates
from crewmesh_agent_crew.records.mistakes import Mistake, read_kept
from crewmesh_agent_crew.records.repository import RecordRepository, Stored


@dataclass(frozen=True, slots=True)
class PinnedCrew:
    """``definition``: every agent in it is complete, and every task that needs one has its agent."""

    id: str
    version: int
    definition: CrewDefinition


@dataclass(frozen=True, slots=True)
class PinnedAgent:
    """A record, or one written down in a crew: then ``id`` is none, and ``crew`` the one that was looked at first."""

    definition: AgentDefinition
    version: int
    id: str | None = None
    crew: str | None = None


class Resolver:
    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    async def pinned(self, connection: AsyncConnection[DictRow], identity: Identity, name: str) -> PinnedCrew:
        """The crew, if ``identity`` may set it and every agent in it to work."""
        unknown = UnknownCrew(f"There is no crew {name!r} in this organization; GET /v1/crews lists those there are.")
        found = await RecordRepository(connection, identity.organization, CREWS).named([name])
        if not found:
            raise unknown
        stored = found[0]
        await self._sharing.ensure(connection, identity, RUN, stored.id, unknown=unknown)
        crew = read_kept(CrewDefinition, stored.definition, f"crew {name!r}")
        filled, mistakes = await self.filled(connection, identity, crew)
        if mistakes:
            raise CrewCannotWork(f"crew {name!r}", mistakes)
        return PinnedCrew(stored.id, stored.version, filled)

    async def agent(self, connection: AsyncConnection[DictRow], identity: Identity, name: str) -> PinnedAgent:
        """The record of that name; else the agent of that name, or role, in the crews that one may set to work."""
        pinned = await self._called(connection, identity, name)
        filled, mistakes = await self.filled_agent(connection, identity, pinned.definition)
        if mistakes:
            raise CrewCannotWork(f"agent {name!r}", mistakes)
        return PinnedAgent(filled, pinned.version, pinned.id, pinned.crew)

    async def filled(
        self, connection: AsyncConnection[DictRow], identity: Identity, crew: CrewDefinition, *, hold: bool = False
    ) -> tuple[CrewDefinition, list[Mistake]]:
        """The crew with everything filled in, and what stands in the way. Held: what it refers to stays for now."""
        found = await runnable(connection, self._sharing, identity, references(crew), hold=hold)
        agents = {stored.name: _agent(stored) for stored in found}
        uses = list(prompt_uses(crew, *agents.values()))
        filling = Filling(agents, await templates(connection, identity.organization, uses, hold=hold))
        return filling.crew(crew), filling.mistakes

    async def filled_agent(
        self, connection: AsyncConnection[DictRow], identity: Identity, agent: AgentDefinition, *, hold: bool = False
    ) -> tuple[AgentDefinition, list[Mistake]]:
        uses = list(prompt_uses(agent))
        filling = Filling({}, await templates(connection, identity.organization, uses, hold=hold))
        return filling.lone(agent), filling.mistakes

    async def _called(self, connection: AsyncConnection[DictRow], identity: Identity, name: str) -> PinnedAgent:
        records = await runnable(connection, self._sharing, identity, [name])
        if records:
            record = records[0]
            return PinnedAgent(_agent(record), record.version, id=record.id)
        reach = await self._sharing.reach(connection, identity, RUN)
        found = await CrewRepository(connection, identity.organization).agents_called(name, reach)
        if not found:
            raise UnknownAgent(name)
        if any(other.agent != found[0].agent for other in found):
            raise AmbiguousAgent(name, [other.crew_name for other in found])
        return PinnedAgent(found[0].agent, found[0].version, crew=found[0].crew)


def _agent(stored: Stored) -> AgentDefinition:
    return read_kept(AgentDefinition, stored.definition, f"agent {stored.name!r}")


@asynccontextmanager
async def open_resolver(resources: Resources) -> AsyncGenerator[Resolver]:
    """After sharing."""
    yield Resolver(resources.get(Sharing))
