"""SQL of service accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.service_accounts.schemas import NewServiceAccount, ServiceAccount

_COLUMNS = "id, name, role, created_by, version, created_at, updated_at"
_FIND = f"SELECT {_COLUMNS} FROM service_accounts WHERE org_id = %s AND id = %s"
_PAGE = f"""
SELECT {_COLUMNS} FROM service_accounts WHERE org_id = %(org)s AND (%(after)s::text IS NULL OR id > %(after)s)
ORDER BY id LIMIT %(limit)s
"""
_ADD = f"""
INSERT INTO service_accounts (id, org_id, name, role, created_by) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (org_id, name) DO NOTHING RETURNING {_COLUMNS}
"""
_NAME_TAKEN = "SELECT FROM service_accounts WHERE org_id = %s AND name = %s AND id <> %s"
_CHANGE = f"""
UPDATE service_accounts SET name = %(name)s, role = %(role)s, version = version + 1, updated_at = now()
WHERE org_id = %(org)s AND id = %(id)s RETURNING {_COLUMNS}
"""
# Its keys go with it, by their foreign key.
_DELETE = """
WITH theirs AS (SELECT id FROM api_keys WHERE org_id = %(org)s AND service_account_id = %(id)s),
     gone AS (DELETE FROM service_accounts WHERE org_id = %(org)s AND id = %(id)s)
SELECT id FROM theirs ORDER BY id
"""


async def find(conn: AsyncConnection[DictRow], organization: str, account: str) -> ServiceAccount | None:
    return await _one(conn, _FIND, [organization, account])


async def page(
    conn: AsyncConnection[DictRow], organization: str, after: str | None, limit: int
) -> list[ServiceAccount]:
    async with conn.cursor(row_factory=class_row(ServiceAccount)) as cursor:
        await cursor.execute(_PAGE, {"org": organization, "after": after, "limit": limit})
        return await cursor.fetchall()


async def add(
    conn: AsyncConnection[DictRow], organization: str, new: NewServiceAccount, *, created_by: str
) -> ServiceAccount | None:
    """None when the name is taken."""
    return await _one(conn, _ADD, [new_id("sva"), organization, new.name, new.role, created_by])


async def name_is_taken(conn: AsyncConnection[DictRow], organization: str, name: str, *, but: str) -> bool:
    return await (await conn.execute(_NAME_TAKEN, [organization, name, but])).fetchone() is not None


async def change(conn: AsyncConnection[DictRow], organization: str, account: ServiceAccount) -> ServiceAccount | None:
    """As ``account`` says, with the next version."""
    parameters = {"org": organization, "id": account.id, "name": account.name, "role": account.role}
    return await _one(conn, _CHANGE, parameters)


async def delete(conn: AsyncConnection[DictRow], organization: str, account: str) -> list[str]:
    """The ids of the keys that went with it."""
    rows = await (await conn.execute(_DELETE, {"org": organization, "id": account})).fetchall()
    return [row["id"] for row in rows]


async def _one(
    conn: AsyncConnection[DictRow], query: LiteralString, parameters: Mapping[str, object] | list[object]
) -> ServiceAccount | None:
    async with conn.cursor(row_factory=class_row(ServiceAccount)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()
