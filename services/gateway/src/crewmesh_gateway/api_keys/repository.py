"""API keys in the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from crewmesh_kit.db.database import Database


class ApiKeyRepository:
    """Noting the use of keys happens apart from any organization: the system's view."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note_uses(self, uses: Mapping[str, datetime]) -> None:
        """All of them in one statement; ordered, so that two replicas cannot lock each other out."""
        async with self._database.system() as connection:
            await connection.execute(
                """
                UPDATE api_keys SET last_used_at = used.at
                FROM (
                    SELECT api_keys.id, noted.at
                    FROM unnest(%s::text[], %s::timestamptz[]) AS noted (id, at)
                    JOIN api_keys ON api_keys.id = noted.id
                    ORDER BY api_keys.id FOR UPDATE OF api_keys
                ) AS used
                WHERE api_keys.id = used.id AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at < used.at)
                """,
                (list(uses), list(uses.values())),
            )
