"""SQL of custom roles."""

from __future__ import annotations

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.roles.schemas import NewRole, Role

_COLUMNS = "id, name, about, permissions, version, created_at, updated_at"
_FIND = f"SELECT {_COLUMNS} FROM roles WHERE org_id = %s AND id = %s"
_PAGE = f"""
SELECT {_COLUMNS} FROM roles WHERE org_id = %(org)s AND (%(after)s::text IS NULL OR id > %(after)s)
ORDER BY id LIMIT %(limit)s
"""
_ADD = f"""
INSERT INTO roles (id, org_id, name, about, permissions) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (org_id, name) DO NOTHING RETURNING {_COLUMNS}
"""
_NAME_TAKEN = "SELECT FROM roles WHERE org_id = %s AND name = %s AND id <> %s"
_CHANGE = f"""
UPDATE roles SET name = %(name)s, about = %(about)s, permissions = %(permissions)s, version = version + 1,
                 updated_at = now()
WHERE org_id = %(org)s AND id = %(id)s RETURNING {_COLUMNS}
"""
_DELETE = "DELETE FROM roles WHERE org_id = %s AND id = %s"
_USERS = """
SELECT (SELECT count(*) FROM memberships WHERE org_id = %(org)s AND role = %(role)s) AS members,
       (SELECT count(*) FROM service_accounts WHERE org_id = %(org)s AND role = %(role)s) AS service_accounts,
       (SELECT count(*) FROM invitations WHERE org_id = %(org)s AND role = %(role)s
          AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()) AS open_invitations
"""


async def find(conn: AsyncConnection[DictRow], organization: str, role: str) -> Role | None:
    async with conn.cursor(row_factory=class_row(Role)) as cursor:
        await cursor.execute(_FIND, [organization, role])
        return await cursor.fetchone()


async def page(conn: AsyncConnection[DictRow], organization: str, after: str | None, limit: int) -> list[Role]:
    async with conn.cursor(row_factory=class_row(Role)) as cursor:
        await cursor.execute(_PAGE, {"org": organization, "after": after, "limit": limit})
        return await cursor.fetchall()


async def add(conn: AsyncConnection[DictRow], organization: str, new: NewRole) -> Role | None:
    """None when the name is taken."""
    async with conn.cursor(row_factory=class_row(Role)) as cursor:
        await cursor.execute(_ADD, [new_id("role"), organization, new.name, new.about, list(new.permissions)])
        return await cursor.fetchone()


async def name_is_taken(conn: AsyncConnection[DictRow], organization: str, name: str, *, but: str) -> bool:
    return await (await conn.execute(_NAME_TAKEN, [organization, name, but])).fetchone() is not None


async def change(conn: AsyncConnection[DictRow], organization: str, role: Role) -> Role | None:
    """As ``role`` says, with the next version."""
    parameters: dict[str, object] = {
        "org": organization,
        "id": role.id,
        "name": role.name,
        "about": role.about,
        "permissions": list(role.permissions),
    }
    async with conn.cursor(row_factory=class_row(Role)) as cursor:
        await cursor.execute(_CHANGE, parameters)
        return await cursor.fetchone()


async def delete(conn: AsyncConnection[DictRow], organization: str, role: str) -> None:
    await conn.execute(_DELETE, [organization, role])


async def users(conn: AsyncConnection[DictRow], organization: str, role: str) -> dict[str, int]:
    """How many of each kind have the role."""
    row = await (await conn.execute(_USERS, {"org": organization, "role": role})).fetchone()
    return dict(row or {})
