"""SQL of API keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import LiteralString

from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_gateway.api_keys.schemas import ApiKey

_COLUMNS = """
    id, name, prefix, permissions AS scopes, user_id AS user, service_account_id AS service_account, created_by,
    rotated_from, created_at, last_used_at, expires_at, revoked_at, version,
    CASE WHEN revoked_at <= now() THEN 'revoked' WHEN expires_at <= now() THEN 'expired'
         WHEN revoked_at IS NOT NULL THEN 'ending' ELSE 'active' END AS status
"""
_FIND = f"SELECT {_COLUMNS} FROM api_keys WHERE org_id = %s AND id = %s"
_PAGE = f"""
SELECT {_COLUMNS} FROM api_keys
WHERE org_id = %(org)s AND (%(after)s::text IS NULL OR id > %(after)s)
      AND (%(service_account)s::text IS NULL OR service_account_id = %(service_account)s)
ORDER BY id LIMIT %(limit)s
"""
# Nothing for a person whose membership has ended meanwhile.
_ADD = f"""
INSERT INTO api_keys (id, org_id, user_id, service_account_id, name, prefix, secret_sha256, permissions, expires_at,
                      created_by, rotated_from)
SELECT %(id)s, %(org)s, %(user)s, %(service_account)s, %(name)s, %(prefix)s, %(digest)s, %(scopes)s, %(expires_at)s,
       %(created_by)s, %(rotated_from)s
WHERE %(user)s::text IS NULL OR EXISTS (SELECT FROM memberships WHERE org_id = %(org)s AND user_id = %(user)s)
RETURNING {_COLUMNS}
"""
_RENAME = f"UPDATE api_keys SET name = %s, version = version + 1 WHERE org_id = %s AND id = %s RETURNING {_COLUMNS}"
_END = f"""
UPDATE api_keys SET revoked_at = now() + %s * interval '1 second', version = version + 1
WHERE org_id = %s AND id = %s RETURNING {_COLUMNS}
"""
_NOTE_USES = """
UPDATE api_keys SET last_used_at = used.at
FROM (
    SELECT api_keys.id, noted.at
    FROM unnest(%s::text[], %s::timestamptz[]) AS noted (id, at)
    JOIN api_keys ON api_keys.id = noted.id
    ORDER BY api_keys.id FOR UPDATE OF api_keys
) AS used
WHERE api_keys.id = used.id AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at < used.at)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    # Whom it acts for: one of the two.
    user: str | None
    service_account: str | None
    rotated_from: str | None = None


class ApiKeyRepository:
    """Noting the use of keys happens apart from any organization: the system's view."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note_uses(self, uses: Mapping[str, datetime]) -> None:
        """All of them in one statement; ordered, so that two replicas cannot lock each other out."""
        async with self._database.system() as connection:
            await connection.execute(_NOTE_USES, (list(uses), list(uses.values())))


async def find(conn: AsyncConnection[DictRow], organization: str, key: str, *, lock: bool = False) -> ApiKey | None:
    return await _one(conn, f"{_FIND} FOR NO KEY UPDATE" if lock else _FIND, [organization, key])


async def page(
    conn: AsyncConnection[DictRow], organization: str, *, service_account: str | None, after: str | None, limit: int
) -> list[ApiKey]:
    parameters = {"org": organization, "service_account": service_account, "after": after, "limit": limit}
    async with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        await cursor.execute(_PAGE, parameters)
        return await cursor.fetchall()


async def add(
    conn: AsyncConnection[DictRow], organization: str, new: NewKey, secret: PresentedKey, *, created_by: str
) -> ApiKey | None:
    """None when the person it is to act for is no member any more."""
    parameters = {
        **asdict(new),
        "id": new_id("key"),
        "org": organization,
        "scopes": list(new.scopes),
        "prefix": secret.prefix,
        "digest": secret.digest(),
        "created_by": created_by,
    }
    return await _one(conn, _ADD, parameters)


async def rename(conn: AsyncConnection[DictRow], organization: str, key: str, name: str) -> ApiKey | None:
    return await _one(conn, _RENAME, [name, organization, key])


async def end(conn: AsyncConnection[DictRow], organization: str, key: str, *, in_seconds: int) -> ApiKey | None:
    return await _one(conn, _END, [in_seconds, organization, key])


async def _one(
    conn: AsyncConnection[DictRow], query: LiteralString, parameters: Mapping[str, object] | list[object]
) -> ApiKey | None:
    async with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()
