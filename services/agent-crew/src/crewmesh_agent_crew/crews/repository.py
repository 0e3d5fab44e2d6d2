"""SQL that is asked of crews alone: who is in them, and what they refer to. The rest is as for every record."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.access import CHANGE, SEE
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.errors import CrewExists, CrewNotFound
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.records.mistakes import read_kept
from crewmesh_agent_crew.records.schemas import Record
from crewmesh_agent_crew.records.shelf import Shelf

CREWS = Shelf(
    noun="crew",
    path="crews",
    prefix="crew",
    action="crew",
    table="crews",
    history="crew_history",
    adding="Add a crew. Agents are written down in it, or are agents of the organization by their names.",
    model=CrewDefinition,
    record=Record[CrewDefinition],
    unknown=CrewNotFound,
    taken=CrewExists,
    see=SEE,
    change=CHANGE,
    reserved=("import", "templates"),
)
_AGENTS_CALLED = """
SELECT crews.id AS crew, crews.name AS crew_name, crews.version, agent, agent->>'name' = %(name)s AS by_name
FROM crews, jsonb_array_elements(definition->'agents') AS agent
WHERE crews.org_id = %(org)s AND crews.archived_at IS NULL
  AND (%(only)s::text[] IS NULL OR crews.id = ANY(%(only)s)) AND crews.id <> ALL(%(but)s::text[])
  AND (agent->>'name' = %(name)s
       OR trim(BOTH '-' FROM regexp_replace(lower(agent->>'role'), '[^a-z0-9]+', '-', 'g')) = %(name)s)
ORDER BY crews.name
"""
_HOLDING = """
SELECT id, name FROM crews WHERE org_id = %(org)s AND archived_at IS NULL
  AND (definition->'agents' @> %(part)s OR definition->'tasks' @> %(part)s)
ORDER BY name LIMIT 10
"""


@dataclass(frozen=True, slots=True)
class Inline:
    """An agent that is written down in a crew."""

    crew: str
    crew_name: str
    version: int
    agent: AgentDefinition


class CrewRepository:
    def __init__(self, connection: AsyncConnection[DictRow], organization: str) -> None:
        self._connection = connection
        self._organization = organization

    async def agents_called(self, name: str, reach: Reach) -> list[Inline]:
        """Those of that name, or else those whose role reads like it ("a writer": a-writer)."""
        cursor = await self._connection.execute(
            _AGENTS_CALLED, {"org": self._organization, "name": name, **reach.parameters}
        )
        rows = await cursor.fetchall()
        return [
            Inline(row["crew"], row["crew_name"], row["version"], _agent(row))
            for row in [row for row in rows if row["by_name"]] or rows
        ]

    async def using_agent(self, name: str) -> list[tuple[str, str]]:
        return await self._holding({"use": name})

    async def using_prompt(self, name: str) -> list[tuple[str, str]]:
        return await self._holding({"prompt": {"use": name}})

    async def _holding(self, part: JsonObject) -> list[tuple[str, str]]:
        """Ids and names of some of the crews that have it in an agent or a task."""
        cursor = await self._connection.execute(_HOLDING, {"org": self._organization, "part": Jsonb([part])})
        return [(row["id"], row["name"]) for row in await cursor.fetchall()]


def _agent(row: DictRow) -> AgentDefinition:
    return read_kept(AgentDefinition, row["agent"], f"agent of the crew {row['crew_name']!r}")
