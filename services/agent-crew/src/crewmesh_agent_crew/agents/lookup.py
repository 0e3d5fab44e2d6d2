"""Finding agents that are records, among those that somebody may set to work."""

from __future__ import annotations

from collections.abc import Collection

from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import CHANGE_AGENT, RUN_AGENT, SEE_AGENT
from crewmesh_agent_crew.agents.errors import AgentExists, AgentNotFound
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.records.repository import RecordRepository, Stored
from crewmesh_agent_crew.records.schemas import Record
from crewmesh_agent_crew.records.shelf import Shelf

AGENTS = Shelf(
    noun="agent",
    path="agents",
    prefix="agt",
    action="agent",
    table="agents",
    history="agent_history",
    adding="Add an agent. Crews refer to it by its name, and workflows ask it by that.",
    model=AgentDefinition,
    record=Record[AgentDefinition],
    unknown=AgentNotFound,
    taken=AgentExists,
    see=SEE_AGENT,
    change=CHANGE_AGENT,
    reserved=("import", "statuses"),
)


async def runnable(
    connection: AsyncConnection[DictRow],
    sharing: Sharing,
    identity: Identity,
    names: Collection[str],
    *,
    hold: bool = False,
) -> list[Stored]:
    """Those of the names that ``identity`` may set to work. Held ones stay until the transaction ends."""
    found = await RecordRepository(connection, identity.organization, AGENTS).named(
        names, lock="FOR SHARE" if hold else ""
    )
    if not found:
        return []
    reach = await sharing.reach(connection, identity, RUN_AGENT)
    return [stored for stored in found if stored.id in reach]


async def agents_written_with(connection: AsyncConnection[DictRow], organization: str, prompt: str) -> list[Stored]:
    """Some of those whose backstory is this prompt template."""
    return await RecordRepository(connection, organization, AGENTS).holding({"prompt": {"use": prompt}}, most=10)
