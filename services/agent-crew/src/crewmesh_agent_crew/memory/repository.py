"""SQL of reminders. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.crew_runs.stage import Recollection

_KEEP = """
INSERT INTO reminders (org_id, crew_run, path, recollections) VALUES (%s, %s, %s, %s)
ON CONFLICT (org_id, crew_run, path) DO NOTHING
"""
_FIND = "SELECT recollections FROM reminders WHERE crew_run = %s AND path = %s"


async def find(conn: AsyncConnection[DictRow], crew_run: str, path: str) -> tuple[Recollection, ...] | None:
    row = await (await conn.execute(_FIND, [crew_run, path])).fetchone()
    return None if row is None else tuple(Recollection.model_validate(each) for each in row["recollections"])


async def keep(
    conn: AsyncConnection[DictRow], organization: str, crew_run: str, path: str, recollections: Sequence[Recollection]
) -> None:
    """The first that is kept is the one."""
    kept = Jsonb([each.model_dump(mode="json") for each in recollections])
    await conn.execute(_KEEP, [organization, crew_run, path, kept])
