"""API keys in the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from crewmesh_kit.db.database import Database

from crewmesh_gateway.api_keys.models import ApiKey


class ApiKeyRepository:
    """Finding keys and noting their use happens before, or apart from, any organization: the system's view."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_prefix(self, prefix: str) -> ApiKey | None:
        async with self._database.system() as connection:
            cursor = await connection.execute(
                """
                SELECT id, org_id, user_id, name, prefix, secret_sha256, permissions, expires_at, revoked_at
                FROM api_keys WHERE prefix = %s
                """,
                (prefix,),
            )
            row = await cursor.fetchone()
        return None if row is None else _api_key(row)

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


def _api_key(row: Mapping[str, object]) -> ApiKey:
    return ApiKey(
        id=cast(str, row["id"]),
        organization=cast(str, row["org_id"]),
        user=cast(str, row["user_id"]),
        name=cast(str, row["name"]),
        prefix=cast(str, row["prefix"]),
        secret_sha256=bytes(cast(bytes, row["secret_sha256"])),
        permissions=frozenset(cast("list[str]", row["permissions"])),
        expires_at=cast("datetime | None", row["expires_at"]),
        revoked_at=cast("datetime | None", row["revoked_at"]),
    )
