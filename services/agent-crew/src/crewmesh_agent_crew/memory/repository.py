"""SQL of reminders, and of memories that go. Row-level security keeps what takes a connection in its organization."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.crew_runs.stage import Recollection
from crewmesh_agent_crew.memory.models import ToForget

_KEEP = """
INSERT INTO reminders (org_id, crew_run, path, recollections) VALUES (%s, %s, %s, %s)
ON CONFLICT (org_id, crew_run, path) DO NOTHING
"""
# Whose row is deleted, or whose crew or agent is, leaves nothing behind any more.
_THOSE_THAT_COUNT = """
SELECT id FROM crew_runs WHERE id = ANY(%s)
    AND NOT EXISTS (SELECT FROM crews WHERE crews.id = crew_runs.crew_id AND crews.archived_at IS NOT NULL)
    AND NOT EXISTS (SELECT FROM agents WHERE agents.id = crew_runs.agent_id AND agents.archived_at IS NOT NULL)
"""
# What was taken out of the archive since remembers again.
_NOT_ANY_MORE = """
DELETE FROM memories_to_forget WHERE due_at <= now() AND run = '' AND (
    EXISTS (SELECT FROM crews WHERE crews.id = split_part(about, ':', 2) AND archived_at IS NULL)
    OR EXISTS (SELECT FROM agents WHERE agents.id = split_part(about, ':', 2) AND archived_at IS NULL)
)
"""
_TAKE_DUE = """
UPDATE memories_to_forget SET due_at = now() + make_interval(secs => %(again)s) WHERE id = ANY(ARRAY(
    SELECT id FROM memories_to_forget WHERE due_at <= now() ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
)) RETURNING id, org_id, about, run
"""
_FORGOTTEN = """
WITH gone AS (DELETE FROM memories_to_forget WHERE id = ANY(%(ids)s) AND times_left <= 1)
UPDATE memories_to_forget SET times_left = times_left - 1 WHERE id = ANY(%(ids)s) AND times_left > 1
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


async def those_that_count(conn: AsyncConnection[DictRow], crew_runs: Sequence[str]) -> set[str]:
    """Those of the runs that something may be remembered of."""
    rows = await (await conn.execute(_THOSE_THAT_COUNT, [[*crew_runs]])).fetchall()
    return {row["id"] for row in rows}


async def take_due(database: Database, *, again_seconds: float) -> list[ToForget]:
    """What is to be forgotten now; in so many seconds somebody looks at it again, whatever comes of it."""
    _, rows = await database.statements((_NOT_ANY_MORE, {}), (_TAKE_DUE, {"again": again_seconds}))
    return [ToForget(row["id"], row["org_id"], row["about"], row["run"]) for row in rows]


async def forgotten(database: Database, ids: Sequence[int]) -> None:
    """Once; the last time takes them off the list."""
    await database.statement(_FORGOTTEN, {"ids": [*ids]})
