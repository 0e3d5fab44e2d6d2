"""SQL of teams and of who belongs to them."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.teams.schemas import Team

_TEAM = """
SELECT t.id, t.name, t.version, t.created_at, t.updated_at,
       (SELECT count(*) FROM team_members m WHERE m.org_id = t.org_id AND m.team_id = t.id) AS members
FROM teams t WHERE t.org_id = %(org)s
"""
_FIND = f"{_TEAM} AND t.id = %(team)s"
_PAGE = f"{_TEAM} AND (%(after)s::text IS NULL OR t.id > %(after)s) ORDER BY t.id LIMIT %(limit)s"
_ADD = "INSERT INTO teams (id, org_id, name) VALUES (%s, %s, %s) ON CONFLICT (org_id, name) DO NOTHING"
_NAME_TAKEN = "SELECT FROM teams WHERE org_id = %s AND name = %s AND id <> %s"
_RENAME = "UPDATE teams SET name = %s, version = version + 1, updated_at = now() WHERE org_id = %s AND id = %s"
_DELETE = "DELETE FROM teams WHERE org_id = %s AND id = %s"
_PLACE = "INSERT INTO team_members (org_id, team_id, user_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_PLACE_IN_ALL = """
INSERT INTO team_members (org_id, team_id, user_id)
SELECT org_id, id, %(user)s FROM teams WHERE org_id = %(org)s AND id = ANY(%(teams)s)
ON CONFLICT DO NOTHING
"""
_TAKE_OUT = "DELETE FROM team_members WHERE org_id = %s AND team_id = %s AND user_id = %s"
_MISSING = """
SELECT wanted.id FROM unnest(%(teams)s::text[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM teams WHERE org_id = %(org)s AND teams.id = wanted.id) LIMIT 1
"""


async def find(conn: AsyncConnection[DictRow], organization: str, team: str) -> Team | None:
    async with conn.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(_FIND, {"org": organization, "team": team})
        return await cursor.fetchone()


async def page(conn: AsyncConnection[DictRow], organization: str, after: str | None, limit: int) -> list[Team]:
    async with conn.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(_PAGE, {"org": organization, "after": after, "limit": limit})
        return await cursor.fetchall()


async def add(conn: AsyncConnection[DictRow], organization: str, name: str) -> Team | None:
    """None when the name is taken."""
    team = new_id("team")
    added = await conn.execute(_ADD, [team, organization, name])
    return await find(conn, organization, team) if added.rowcount else None


async def name_is_taken(conn: AsyncConnection[DictRow], organization: str, name: str, *, but: str) -> bool:
    return await (await conn.execute(_NAME_TAKEN, [organization, name, but])).fetchone() is not None


async def rename(conn: AsyncConnection[DictRow], organization: str, team: str, name: str) -> Team | None:
    await conn.execute(_RENAME, [name, organization, team])
    return await find(conn, organization, team)


async def delete(conn: AsyncConnection[DictRow], organization: str, team: str) -> None:
    await conn.execute(_DELETE, [organization, team])


async def place(conn: AsyncConnection[DictRow], organization: str, team: str, user: str) -> bool:
    """Whether the member was not in the team before."""
    return (await conn.execute(_PLACE, [organization, team, user])).rowcount == 1


async def place_in_all(conn: AsyncConnection[DictRow], organization: str, teams: Sequence[str], user: str) -> None:
    """In those that there are still."""
    await conn.execute(_PLACE_IN_ALL, {"org": organization, "teams": list(teams), "user": user})


async def take_out(conn: AsyncConnection[DictRow], organization: str, team: str, user: str) -> bool:
    """Whether the member was in the team."""
    return (await conn.execute(_TAKE_OUT, [organization, team, user])).rowcount == 1


async def missing(conn: AsyncConnection[DictRow], organization: str, teams: Sequence[str]) -> str | None:
    """One of these that is no team of the organization; none when all are."""
    row = await (await conn.execute(_MISSING, {"org": organization, "teams": list(teams)})).fetchone()
    return row["id"] if row else None
