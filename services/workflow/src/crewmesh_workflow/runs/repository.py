"""SQL that reads runs. The engine's journal writes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_workflow.runs.schemas import (
    LIVE,
    Glance,
    Origin,
    RunDetail,
    RunStatus,
    RunSummary,
    StoredEvent,
    Usage,
)

# An id holds the moment it was made, by the clock of the replica that made it.
_CLOCKS_DIFFER_BY = timedelta(hours=1)

# A run that is paused sees only later what has come for it, or that a time is over; it does not wait for that any more.
WAITED_FOR: LiteralString = (
    "waits.status = 'open' AND (until IS NULL OR until > clock_timestamp())"
    " AND NOT EXISTS (SELECT FROM arrivals WHERE arrivals.wait_id = waits.id)"
)
_SUMMARY: LiteralString = """
id, workflow_id AS workflow, workflow_version, status, asked, test, origin, started_by, source_run, parent_run,
priority, created_at, finished_at, keep_until, error,
CASE WHEN trigger->>'id' IS NOT NULL AND trigger->>'source' IS NOT NULL AND trigger->>'type' IS NOT NULL
     THEN jsonb_build_object('id', trigger->>'id', 'source', trigger->>'source', 'type', trigger->>'type') END AS event
"""
_DETAIL: LiteralString = (
    "SELECT"
    + _SUMMARY
    + """, trigger, output, response, parent_path, deadline_at, seq AS last_event,
split_part(traceparent, '-', 2) AS trace_id,
(SELECT count(*) FROM runs child WHERE child.parent_run = runs.id) AS children,
(SELECT coalesce(jsonb_object_agg(status, number), '{}') FROM (
    SELECT status, count(*) AS number FROM steps WHERE run_id = runs.id GROUP BY status) counted) AS progress,
ARRAY(SELECT left(path, -5) FROM steps
    WHERE run_id = runs.id AND path LIKE '%%!undo' AND status IN ('failed', 'cancelled')
    ORDER BY position LIMIT 100) AS not_undone,
(SELECT coalesce(jsonb_agg(wait), '[]') FROM (
    SELECT id, path, kind, request->>'title' AS title, until, created_at AS since
    FROM waits WHERE run_id = runs.id AND """
    + WAITED_FOR
    + """
    UNION ALL
    SELECT path, path, 'retry', error->>'detail', retry_at, started_at
    FROM steps WHERE run_id = runs.id AND status = 'running' AND retry_at > clock_timestamp()
    ORDER BY since, path LIMIT 100) wait) AS waiting_for,
NULL AS usage
FROM runs WHERE org_id = %s AND id = %s
"""
)
_GLANCE = "SELECT workflow_id AS workflow, status, asked, seq AS last_event FROM runs WHERE org_id = %s AND id = %s"
_EVENTS = """
SELECT seq, type, data, at FROM run_events WHERE org_id = %s AND run_id = %s AND seq > %s ORDER BY seq LIMIT %s
"""
# What stands in an output may be anything in a test run.
_USAGE = r"""
SELECT count(*) AS asked,
    coalesce(sum(CASE WHEN jsonb_typeof(u->'requests') = 'number' THEN (u->'requests')::numeric END), 0) AS requests,
    coalesce(sum(CASE WHEN jsonb_typeof(u->'prompt_tokens') = 'number'
                      THEN (u->'prompt_tokens')::numeric END), 0) AS prompt_tokens,
    coalesce(sum(CASE WHEN jsonb_typeof(u->'completion_tokens') = 'number'
                      THEN (u->'completion_tokens')::numeric END), 0) AS completion_tokens,
    trim_scale(coalesce(sum(CASE WHEN u->>'cost' ~ '^\d{1,12}(\.\d{1,12})?$'
                                 THEN (u->>'cost')::numeric END), 0))::text AS cost
FROM (SELECT output->'usage' AS u FROM steps
      WHERE org_id = %s AND run_id = %s AND regexp_replace(path, '\[\d+\]', '', 'g') = ANY(%s)
      AND jsonb_typeof(output->'usage') = 'object') used
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs are asked for; what is none or empty does not matter."""

    statuses: tuple[RunStatus, ...] = ()
    workflow: str | None = None
    version: int | None = None
    origin: Origin | None = None
    test: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    started_by: str | None = None
    parent: str | None = None
    source: str | None = None
    error: str | None = None
    text: str | None = None


# Runs are seen with their workflow.
REACHED: LiteralString = (
    "(%(only)s::text[] IS NULL OR workflow_id = ANY(%(only)s)) AND workflow_id <> ALL(%(but)s::text[])"
)
# By the name of the filter. Ids are ordered by time, so the index on them finds a span of time.
_CONDITIONS: dict[str, LiteralString] = {
    "workflow": "workflow_id = %(workflow)s",
    "version": "workflow_version = %(version)s",
    "origin": "origin = %(origin)s",
    "test": "test = %(test)s",
    "since": "created_at >= %(since)s AND id >= %(since_id)s",
    "until": "created_at < %(until)s AND id < %(until_id)s",
    "started_by": "started_by = %(started_by)s",
    "parent": "parent_run = %(parent)s",
    "source": "source_run = %(source)s",
    "error": "error IS NOT NULL AND error->>'type' = %(error)s",
    "text": "error IS NOT NULL AND strpos(lower(error->>'detail'), lower(%(text)s)) > 0",
}


async def page(
    conn: AsyncConnection[DictRow],
    organization: str,
    filters: Filters,
    reach: Reach,
    *,
    before: str | None,
    limit: int,
) -> list[RunSummary]:
    """Newest first; ids are ordered by time."""
    conditions: list[LiteralString] = ["org_id = %(org)s"]
    for name, condition in _CONDITIONS.items():
        if getattr(filters, name) is not None:
            conditions.append(condition)
    if before is not None:
        conditions.append("id < %(before)s")
    if not reach.everything:
        conditions.append(REACHED)
    if filters.statuses:
        conditions.append("status = ANY(%(statuses)s)")
        if LIVE.issuperset(filters.statuses):
            conditions.append("finished_at IS NULL")  # an index holds just these
        elif filters.statuses == ("failed",):
            conditions.append("error IS NOT NULL")  # and another these
    parameters: dict[str, object] = {name: getattr(filters, name) for name in _CONDITIONS}
    parameters |= reach.parameters | {
        "org": organization,
        "statuses": [*filters.statuses],
        "before": before,
        "limit": limit,
    }
    if filters.since is not None:
        parameters["since_id"] = id_at(filters.since - _CLOCKS_DIFFER_BY)
    if filters.until is not None:
        parameters["until_id"] = id_at(filters.until + _CLOCKS_DIFFER_BY)
    query = "SELECT" + _SUMMARY + "FROM runs WHERE " + " AND ".join(conditions) + " ORDER BY id DESC LIMIT %(limit)s"
    async with conn.cursor(row_factory=class_row(RunSummary)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


def id_at(moment: datetime) -> str:
    """Ids of runs that were made before sort before it, the others behind."""
    milliseconds = int(moment.timestamp() * 1_000)
    return f"run_{min(max(milliseconds, 0), (1 << 48) - 1):012x}"


async def get(conn: AsyncConnection[DictRow], organization: str, run: str) -> RunDetail | None:
    """The run as it is stored; a large output is a reference yet, and its usage is not added up."""
    async with conn.cursor(row_factory=class_row(RunDetail)) as cursor:
        await cursor.execute(_DETAIL, [organization, run])
        return await cursor.fetchone()


async def usage(conn: AsyncConnection[DictRow], organization: str, run: str, places: list[str]) -> Usage | None:
    """Added up over the steps at these places, which are paths without the numbers of rounds."""
    row = await (await conn.execute(_USAGE, [organization, run, places])).fetchone()
    return None if row is None or row["asked"] == 0 else Usage.model_validate(row)


async def glance(conn: AsyncConnection[DictRow], organization: str, run: str) -> Glance | None:
    async with conn.cursor(row_factory=class_row(Glance)) as cursor:
        await cursor.execute(_GLANCE, [organization, run])
        return await cursor.fetchone()


async def events(
    conn: AsyncConnection[DictRow], organization: str, run: str, after: int, limit: int
) -> list[StoredEvent]:
    async with conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
        await cursor.execute(_EVENTS, [organization, run, after, limit])
        return await cursor.fetchall()
