"""The SQL of crews. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.crews.models import Agent, CrewDefinition
from crewmesh_agent_crew.crews.schemas import Crew

_COLUMNS = "id, version, definition, created_at"


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

    async def agents_called(self, name: str) -> dict[str, Agent]:
        """By crew: the agents of that name, or else those whose role reads like it ("a writer": a-writer)."""
        cursor = await self._connection.execute(
            "SELECT crews.name AS crew, agent, agent->>'name' = %(name)s AS by_name"
            " FROM crews, jsonb_array_elements(definition->'agents') AS agent WHERE agent->>'name' = %(name)s"
            " OR trim(BOTH '-' FROM regexp_replace(lower(agent->>'role'), '[^a-z0-9]+', '-', 'g')) = %(name)s"
            " ORDER BY crews.name",
            {"name": name},
        )
        rows = await cursor.fetchall()
        named = [row for row in rows if row["by_name"]] or rows
        return {row["crew"]: Agent.model_validate(row["agent"]) for row in named}

    async def list_after(self, name: str | None, limit: int) -> list[Crew]:
        """By name, up to ``limit``."""
        cursor = await self._connection.execute(
            f"SELECT {_COLUMNS} FROM crews WHERE name > %s ORDER BY name LIMIT %s", [name or "", limit]
        )
        return [Crew.model_validate(row) for row in await cursor.fetchall()]
