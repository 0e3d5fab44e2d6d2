"""The SQL of stops."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from psycopg import AsyncConnection
from psycopg.rows import DictRow

# Whose work, and the key it was asked for under.
Place: TypeAlias = tuple[str, str]


class StopRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(self, place: Place) -> None:
        """Write the stop down, and forget the organization's old ones: they are few."""
        await self._connection.execute("DELETE FROM stops WHERE at < now() - interval '1 day'")
        await self._connection.execute("INSERT INTO stops (org_id, key) VALUES (%s, %s) ON CONFLICT DO NOTHING", place)

    async def among(self, places: Collection[Place]) -> list[Place]:
        """Those of ``places`` that were stopped."""
        organizations, keys = [place[0] for place in places], [place[1] for place in places]
        cursor = await self._connection.execute(
            "SELECT org_id, key FROM stops JOIN unnest(%s::text[], %s::text[]) AS asked (org_id, key)"
            " USING (org_id, key)",
            [organizations, keys],
        )
        return [(row["org_id"], row["key"]) for row in await cursor.fetchall()]
