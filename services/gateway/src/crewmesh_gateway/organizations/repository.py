"""SQL of organizations.

Whatever changes who may do what in an organization locks its row first (``lock``). So such changes happen one after
another: the last owner cannot leave twice, and a role is not given to somebody while it is deleted.
"""

from __future__ import annotations

from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.organizations.schemas import MyOrganization, Organization

_COLUMNS = "id, name, residency, plan, status, delete_after, version, created_at, updated_at"
_GET = f"SELECT {_COLUMNS} FROM organizations WHERE id = %s"
# Not FOR UPDATE: rows that refer to the organization may be added meanwhile.
_LOCK = f"{_GET} FOR NO KEY UPDATE"
_ADD = "INSERT INTO organizations (id, name) VALUES (%s, %s)"
_ADD_OWNER = "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, 'owner')"
_CHANGED = "version = version + 1, updated_at = now()"
_CHANGE = f"UPDATE organizations SET name = %s, residency = %s, {_CHANGED} WHERE id = %s RETURNING {_COLUMNS}"
_DELETE_LATER = f"""
UPDATE organizations SET status = 'deleting', delete_after = now() + %s * interval '1 day', {_CHANGED}
WHERE id = %s RETURNING {_COLUMNS}
"""
_RESTORE = f"""
UPDATE organizations SET status = 'active', delete_after = NULL, {_CHANGED} WHERE id = %s RETURNING {_COLUMNS}
"""
_OF_A_PERSON = """
SELECT o.id, o.name, m.role, o.plan, o.status, o.delete_after, m.created_at AS joined_at
FROM memberships m JOIN organizations o ON o.id = m.org_id
WHERE m.user_id = %(user)s AND (%(after)s::text IS NULL OR o.id > %(after)s)
ORDER BY o.id LIMIT %(limit)s
"""
_OWNED = "SELECT count(*) AS number FROM memberships WHERE user_id = %s AND role = 'owner'"


async def get(conn: AsyncConnection[DictRow], organization: str, *, lock: bool = False) -> Organization | None:
    async with conn.cursor(row_factory=class_row(Organization)) as cursor:
        await cursor.execute(_LOCK if lock else _GET, [organization])
        return await cursor.fetchone()


async def add(conn: AsyncConnection[DictRow], organization: str, name: str, *, owner: str) -> None:
    await conn.execute(_ADD, [organization, name])
    await conn.execute(_ADD_OWNER, [organization, owner])


async def change(
    conn: AsyncConnection[DictRow], organization: str, name: str, residency: str | None
) -> Organization | None:
    return await _changed(conn, _CHANGE, [name, residency, organization])


async def delete_later(conn: AsyncConnection[DictRow], organization: str, days: float) -> Organization | None:
    return await _changed(conn, _DELETE_LATER, [days, organization])


async def restore(conn: AsyncConnection[DictRow], organization: str) -> Organization | None:
    return await _changed(conn, _RESTORE, [organization])


async def _changed(conn: AsyncConnection[DictRow], query: str, parameters: list[object]) -> Organization | None:
    async with conn.cursor(row_factory=class_row(Organization)) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchone()


async def of_a_person(conn: AsyncConnection[DictRow], user: str, after: str | None, limit: int) -> list[MyOrganization]:
    """In the system's view: a person's organizations are several."""
    async with conn.cursor(row_factory=class_row(MyOrganization)) as cursor:
        await cursor.execute(_OF_A_PERSON, {"user": user, "after": after, "limit": limit})
        return await cursor.fetchall()


async def number_owned(conn: AsyncConnection[DictRow], user: str) -> int:
    """Of one person who waits for nobody else's founding: the person's row is locked."""
    await conn.execute("SELECT FROM users WHERE id = %s FOR NO KEY UPDATE", [user])
    row = await (await conn.execute(_OWNED, [user])).fetchone()
    return row["number"] if row else 0
