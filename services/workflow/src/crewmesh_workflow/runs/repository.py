"""SQL that reads runs. The engine's journal writes them."""

from __future__ import annotations

from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_workflow.runs.schemas import RunDetail, RunStatus, RunSummary, StepDetail, StoredEvent

_SUMMARY = (
    "id, workflow_id AS workflow, workflow_version, status, created_at, finished_at, error,"
    " jsonb_build_object('id', trigger->'id', 'source', trigger->'source', 'type', trigger->'type') AS event"
)
# Newest first; ids are ordered by time.
_PAGE = f"""
SELECT {_SUMMARY} FROM runs
WHERE org_id = %(org)s AND (%(before)s::text IS NULL OR id < %(before)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(workflow)s::text IS NULL OR workflow_id = %(workflow)s)
ORDER BY id DESC LIMIT %(limit)s
"""
_GET = f"SELECT {_SUMMARY}, trigger, output, seq AS last_event FROM runs WHERE org_id = %s AND id = %s"
_STEPS = """
SELECT node_id AS node, status, attempt, input, output, port, error, retry_at, started_at, finished_at
FROM steps WHERE org_id = %s AND run_id = %s ORDER BY position
"""
_EVENTS = """
SELECT seq, type, data, at FROM run_events WHERE org_id = %s AND run_id = %s AND seq > %s ORDER BY seq LIMIT %s
"""


async def page(
    conn: AsyncConnection[DictRow],
    organization: str,
    *,
    before: str | None,
    status: RunStatus | None,
    workflow: str | None,
    limit: int,
) -> list[RunSummary]:
    async with conn.cursor(row_factory=class_row(RunSummary)) as cursor:
        await cursor.execute(
            _PAGE, {"org": organization, "before": before, "status": status, "workflow": workflow, "limit": limit}
        )
        return await cursor.fetchall()


async def get(conn: AsyncConnection[DictRow], organization: str, run: str) -> RunDetail | None:
    """The run as it is stored; a large output is a reference yet."""
    async with conn.cursor(row_factory=class_row(RunDetail)) as cursor:
        await cursor.execute(_GET, [organization, run])
        return await cursor.fetchone()


async def steps(conn: AsyncConnection[DictRow], organization: str, run: str) -> list[StepDetail]:
    async with conn.cursor(row_factory=class_row(StepDetail)) as cursor:
        await cursor.execute(_STEPS, [organization, run])
        return await cursor.fetchall()


async def events(
    conn: AsyncConnection[DictRow], organization: str, run: str, after: int, limit: int
) -> list[StoredEvent]:
    async with conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
        await cursor.execute(_EVENTS, [organization, run, after, limit])
        return await cursor.fetchall()
