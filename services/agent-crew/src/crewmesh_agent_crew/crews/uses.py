"""Who would break without an agent or a prompt template. What somebody may not see is told of, and not named."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import SEE, SEE_AGENT
from crewmesh_agent_crew.agents.lookup import agents_written_with
from crewmesh_agent_crew.crews.repository import CrewRepository


class Uses:
    """In one transaction, as one person sees it."""

    def __init__(self, connection: AsyncConnection[DictRow], sharing: Sharing, identity: Identity) -> None:
        self._connection = connection
        self._sharing = sharing
        self._identity = identity
        self._crews = CrewRepository(connection, identity.organization)

    async def of_agent(self, name: str) -> list[str]:
        return await self._told(await self._crews.using_agent(name), SEE)

    async def of_prompt(self, name: str) -> list[str]:
        agents = await agents_written_with(self._connection, self._identity.organization, name)
        return [
            *await self._told(await self._crews.using_prompt(name), SEE),
            *await self._told([(agent.id, agent.name) for agent in agents], SEE_AGENT),
        ]

    async def _told(self, found: Sequence[tuple[str, str]], see: Need) -> list[str]:
        noun = see.kind.called
        reach = await self._sharing.reach(self._connection, self._identity, see)
        told = [f"the {noun} {name}" for id_, name in found if id_ in reach]
        return [*told, f"{noun}s that you may not see"] if len(told) < len(found) else told
