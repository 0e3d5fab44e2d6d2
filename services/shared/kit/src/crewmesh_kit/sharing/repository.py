"""SQL of access. Every statement names the organization, and row-level security holds besides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_kit.sharing.models import Grant, Level, ResourceAccess, Shared

# Those without grants that are not restricted are as if they had no access.
_ALL = """
SELECT a.kind, a.resource_id, a.restricted, g.grantee, g.level
FROM resource_access a LEFT JOIN resource_grants g USING (org_id, kind, resource_id)
WHERE a.org_id = %s AND (a.restricted OR g.grantee IS NOT NULL)
"""
_THERE = "INSERT INTO resource_access (org_id, kind, resource_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_GET = "SELECT restricted, version FROM resource_access WHERE org_id = %s AND kind = %s AND resource_id = %s"
_GRANTS = """
SELECT grantee, level FROM resource_grants WHERE org_id = %s AND kind = %s AND resource_id = %s ORDER BY grantee
"""
_CHANGE = """
UPDATE resource_access SET restricted = %s, version = version + 1, updated_at = now()
WHERE org_id = %s AND kind = %s AND resource_id = %s
"""
_DROP_GRANTS = "DELETE FROM resource_grants WHERE org_id = %s AND kind = %s AND resource_id = %s"
_ADD_GRANTS = """
INSERT INTO resource_grants (org_id, kind, resource_id, grantee, level)
SELECT %s, %s, %s, * FROM unnest(%s::text[], %s::text[])
"""

Place = tuple[str, str, str]


async def of_organization(conn: AsyncConnection[DictRow], organization: str) -> Mapping[str, Mapping[str, Shared]]:
    """By kind and id: everything that is shared in a way of its own."""
    restricted: dict[tuple[str, str], bool] = {}
    grants: defaultdict[tuple[str, str], dict[str, Level]] = defaultdict(dict)
    for row in await (await conn.execute(_ALL, [organization])).fetchall():
        place = (row["kind"], row["resource_id"])
        restricted[place] = row["restricted"]
        if row["grantee"] is not None:
            grants[place][row["grantee"]] = row["level"]
    found: defaultdict[str, dict[str, Shared]] = defaultdict(dict)
    for (kind, resource), only_grants in restricted.items():
        found[kind][resource] = Shared(only_grants, grants[kind, resource])
    return found


async def get(conn: AsyncConnection[DictRow], place: Place) -> ResourceAccess:
    row = await (await conn.execute(_GET, place)).fetchone()
    if row is None:
        return ResourceAccess(resource=place[2], restricted=False, grants=(), version=0)
    grants = await (await conn.execute(_GRANTS, place)).fetchall()
    return ResourceAccess(
        resource=place[2],
        restricted=row["restricted"],
        grants=tuple(Grant.model_validate(grant) for grant in grants),
        version=row["version"],
    )


async def lock(conn: AsyncConnection[DictRow], place: Place) -> None:
    """Nobody else changes it until the transaction ends; it is there from now on."""
    await conn.execute(_THERE, place)
    await conn.execute(f"{_GET} FOR UPDATE".encode(), place)


async def replace(conn: AsyncConnection[DictRow], place: Place, *, restricted: bool, grants: Sequence[Grant]) -> None:
    await conn.execute(_CHANGE, [restricted, *place])
    await conn.execute(_DROP_GRANTS, place)
    names, levels = [grant.grantee for grant in grants], [grant.level for grant in grants]
    await conn.execute(_ADD_GRANTS, [*place, names, levels])
