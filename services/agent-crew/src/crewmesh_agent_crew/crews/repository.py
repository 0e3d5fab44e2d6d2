"""The SQL of crews. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from crewmesh_kit.ids import new_id
from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.schemas import Crew

_COLUMNS = "id, version, definition, created_at"
_REACHED = "(%(only)s::text[] IS NULL OR crews.id = ANY(%(only)s)) AND crews.id <> ALL(%(but)s::text[])"


class CrewRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(self, organization: str, definition: CrewDefinition) -> Crew | None:
        """The new crew; none when the name is taken."""
        cursor = await self._connection.execute(
            "INSERT INTO crews (org_id, id, name, definition) VALUES (%s, %s, %s, %s)"
            f" ON CONFLICT (org_id, name) DO NOTHING RETURNING {_COLUMNS}",
            [organization, new_id("crew"), definition.name, Jsonb(definition.model_dump(mode="json"))],
        )
        row = await cursor.fetchone()
        return None if row is None else Crew.model_validate(row)

    async def find(self, name: str) -> Crew | None:
        cursor = await self._connection.execute(f"SELECT {_COLUMNS} FROM crews WHERE name = %s", [name])
        row = await cursor.fetchone()
        return None if row is None else Crew.model_validate(row)

    async def agents_called(self, name: str, reach: Reach) -> dict[str, AgentDefinition]:
        """By crew: the agents of that name, or else those whose role reads like it ("a writer": a-writer)."""
        cursor = await self._connection.execute(
            "SELECT crews.name AS crew, agent, agent->>'name' = %(name)s AS by_name"
            f" FROM crews, jsonb_array_elements(definition->'agents') AS agent WHERE {_REACHED} AND ("
            " agent->>'name' = %(name)s"
            " OR trim(BOTH '-' FROM regexp_replace(lower(agent->>'role'), '[^a-z0-9]+', '-', 'g')) = %(name)s)"
            " ORDER BY crews.name",
            {"name": name, **reach.parameters},
        )
        rows = await cursor.fetchall()
        named = [row for row in rows if row["by_name"]] or rows
        return {row["crew"]: AgentDefinition.model_validate(row["agent"]) for row in named}

    async def list_after(self, name: str | None, limit: int, reach: Reach) -> list[Crew]:
        """By name, up to ``limit``."""
        cursor = await self._connection.execute(
            f"SELECT {_COLUMNS} FROM crews WHERE name > %(after)s AND {_REACHED} ORDER BY name LIMIT %(limit)s",
            {"after": name or "", "limit": limit, **reach.parameters},
        )
        return [Crew.model_validate(row) for row in await cursor.fetchall()]
