"""SQL of standing still."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from psycopg import AsyncConnection
from psycopg.rows import DictRow

_CHANGE = """
INSERT INTO organization_statuses AS known (org_id, status, at) VALUES (%(org)s, %(status)s, %(at)s)
ON CONFLICT (org_id) DO UPDATE SET status = excluded.status, at = excluded.at WHERE known.at < excluded.at
"""
_ACTIVE = "SELECT id FROM workflows WHERE org_id = %s AND status = 'active' ORDER BY id FOR UPDATE"


async def change(conn: AsyncConnection[DictRow], organization: str, status: str, at: datetime) -> bool:
    """Whether this is the newest that is known."""
    return (await conn.execute(_CHANGE, {"org": organization, "status": status, "at": at})).rowcount == 1


async def active_workflows(conn: AsyncConnection[DictRow], organization: str) -> list[str]:
    return [cast(str, row["id"]) for row in await (await conn.execute(_ACTIVE, [organization])).fetchall()]
