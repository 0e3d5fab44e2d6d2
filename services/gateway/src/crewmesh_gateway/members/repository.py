"""SQL of members."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.members.schemas import Member

_MEMBER = """
SELECT m.user_id AS id, u.name, u.email, m.role, m.created_at AS joined_at,
       u.totp_confirmed_at IS NOT NULL AS second_factor,
       ARRAY(SELECT t.team_id FROM team_members t
             WHERE t.org_id = m.org_id AND t.user_id = m.user_id ORDER BY t.team_id) AS teams
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.org_id = %(org)s
"""
_FIND = f"{_MEMBER} AND m.user_id = %(user)s"
_PAGE = f"""{_MEMBER}
  AND (%(after)s::text IS NULL OR m.user_id > %(after)s)
  AND (%(role)s::text IS NULL OR m.role = %(role)s)
  AND (%(team)s::text IS NULL OR EXISTS (
       SELECT FROM team_members t WHERE t.org_id = m.org_id AND t.user_id = m.user_id AND t.team_id = %(team)s))
  AND (%(q)s::text IS NULL OR strpos(lower(u.name), lower(%(q)s)) > 0 OR strpos(lower(u.email), lower(%(q)s)) > 0)
ORDER BY m.user_id LIMIT %(limit)s
"""
_ADD = "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_SET_ROLE = "UPDATE memberships SET role = %s WHERE org_id = %s AND user_id = %s"
# While the person can still be seen: people are seen by the organizations they belong to.
_FORGET_LAST = "UPDATE users SET last_org_id = NULL WHERE id = %(user)s AND last_org_id = %(org)s"
# Takes keys and places in teams with it.
_REMOVE = "DELETE FROM memberships WHERE org_id = %(org)s AND user_id = %(user)s"
_HAS_OTHER_OWNER = "SELECT FROM memberships WHERE org_id = %s AND role = 'owner' AND user_id <> %s LIMIT 1"
_ROLE_OF = """
SELECT role FROM memberships WHERE org_id = %(org)s AND user_id = %(who)s
UNION ALL SELECT role FROM service_accounts WHERE org_id = %(org)s AND id = %(who)s
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed down to; ``q`` is looked for in names and addresses."""

    role: str | None = None
    team: str | None = None
    q: str | None = None


async def find(conn: AsyncConnection[DictRow], organization: str, user: str) -> Member | None:
    async with conn.cursor(row_factory=class_row(Member)) as cursor:
        await cursor.execute(_FIND, {"org": organization, "user": user})
        return await cursor.fetchone()


async def page(
    conn: AsyncConnection[DictRow], organization: str, filters: Filters, after: str | None, limit: int
) -> list[Member]:
    parameters: dict[str, object] = {
        "org": organization,
        "role": filters.role,
        "team": filters.team,
        "q": filters.q,
        "after": after,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(Member)) as cursor:
        await cursor.execute(_PAGE, parameters)
        return await cursor.fetchall()


async def add(conn: AsyncConnection[DictRow], organization: str, user: str, role: str) -> bool:
    """Whether the person was not a member before."""
    return (await conn.execute(_ADD, [organization, user, role])).rowcount == 1


async def set_role(conn: AsyncConnection[DictRow], organization: str, user: str, role: str) -> None:
    await conn.execute(_SET_ROLE, [role, organization, user])


async def remove(conn: AsyncConnection[DictRow], organization: str, user: str) -> None:
    asked = {"org": organization, "user": user}
    await conn.execute(_FORGET_LAST, asked)
    await conn.execute(_REMOVE, asked)


async def has_other_owner(conn: AsyncConnection[DictRow], organization: str, than: str) -> bool:
    return await (await conn.execute(_HAS_OTHER_OWNER, [organization, than])).fetchone() is not None


async def role_of(conn: AsyncConnection[DictRow], organization: str, who: str) -> str | None:
    """Of a member or a service account, as it is now; none for who is neither."""
    row = await (await conn.execute(_ROLE_OF, {"org": organization, "who": who})).fetchone()
    return row["role"] if row else None
