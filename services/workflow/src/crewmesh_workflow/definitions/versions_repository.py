"""SQL of versions, and of the runs that are on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row
from psycopg.types.json import Jsonb

from crewmesh_workflow.definitions.moving import JournalledStep
from crewmesh_workflow.definitions.schemas import LiveRuns, RunCounts, Version

# Versions below 1 are drafts that somebody tests; they are nobody's history.
_PAGE = """
SELECT version, message, published_by, created_at FROM workflow_versions
WHERE workflow_id = %(workflow)s AND version > 0 AND (%(before)s::integer IS NULL OR version < %(before)s)
ORDER BY version DESC LIMIT %(limit)s
"""
_GET = """
SELECT workflow_id AS workflow, version, message, published_by, created_at, definition FROM workflow_versions
WHERE workflow_id = %s AND version = %s AND version > 0
"""
_LIVE = """
SELECT workflow_version AS version, status, count(*) AS runs FROM runs
WHERE workflow_id = %s AND finished_at IS NULL AND workflow_version > 0 GROUP BY 1, 2 ORDER BY 1 DESC
"""
_RUNS = """
SELECT id, status, failure IS NOT NULL AS failing FROM runs
WHERE workflow_id = %(workflow)s AND workflow_version = %(version)s AND finished_at IS NULL
  AND (%(runs)s::text[] IS NULL OR id = ANY(%(runs)s)) AND (%(after)s::text IS NULL OR id > %(after)s)
ORDER BY id LIMIT %(limit)s
"""
# Whoever holds a run is at work on it; waiting for them while holding others could end in a deadlock.
_HOLD = """
SELECT id FROM runs
WHERE id = ANY(%s) AND workflow_version = %s AND status IN ('waiting', 'paused', 'queued') FOR UPDATE SKIP LOCKED
"""
_STEPS = """
SELECT run_id, path, port, status IN ('completed', 'skipped', 'failed', 'cancelled') AS finished
FROM steps WHERE run_id = ANY(%s)
"""
_MOVE = """
WITH moved AS (
    UPDATE runs SET workflow_version = %(to)s, seq = seq + 1
    WHERE id = ANY(%(runs)s) AND status IN ('waiting', 'paused', 'queued') RETURNING id, org_id, seq
)
INSERT INTO run_events (run_id, seq, org_id, type, data, at)
SELECT id, seq, org_id, 'run.moved', %(data)s, now() FROM moved
"""


@dataclass(frozen=True, slots=True)
class VersionRow:
    version: int
    message: str
    published_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LiveRun:
    id: str
    status: str
    failing: bool


async def page(conn: AsyncConnection[DictRow], workflow: str, before: int | None, limit: int) -> list[VersionRow]:
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(_PAGE, {"workflow": workflow, "before": before, "limit": limit})
        return await cursor.fetchall()


async def get(conn: AsyncConnection[DictRow], workflow: str, version: int) -> Version | None:
    row = await (await conn.execute(_GET, [workflow, version])).fetchone()
    return None if row is None else Version.model_validate(row)


async def content(conn: AsyncConnection[DictRow], workflow: str, version: int) -> JsonObject | None:
    row = await (await conn.execute(_GET, [workflow, version])).fetchone()
    return None if row is None else cast(JsonObject, row["definition"])


async def live(conn: AsyncConnection[DictRow], workflow: str) -> list[LiveRuns]:
    """By version, the newest first: how many runs have not ended, and what they do."""
    counts: dict[int, dict[str, int]] = {}
    for row in await (await conn.execute(_LIVE, [workflow])).fetchall():
        counts.setdefault(row["version"], {})[row["status"]] = row["runs"]
    return [LiveRuns(version=version, runs=RunCounts(**by_status)) for version, by_status in counts.items()]


async def runs_on(
    conn: AsyncConnection[DictRow],
    workflow: str,
    version: int,
    *,
    only: Sequence[str] | None,
    after: str | None,
    limit: int,
) -> list[LiveRun]:
    runs = None if only is None else list(only)
    parameters = {"workflow": workflow, "version": version, "runs": runs, "after": after, "limit": limit}
    async with conn.cursor(row_factory=class_row(LiveRun)) as cursor:
        await cursor.execute(_RUNS, parameters)
        return await cursor.fetchall()


async def hold(conn: AsyncConnection[DictRow], runs: Sequence[str], version: int) -> frozenset[str]:
    """Those of the runs that nobody is at work on; nobody can be until the transaction ends."""
    rows = await (await conn.execute(_HOLD, [list(runs), version])).fetchall()
    return frozenset(cast(str, row["id"]) for row in rows)


async def journals(conn: AsyncConnection[DictRow], runs: Sequence[str]) -> dict[str, list[JournalledStep]]:
    found: dict[str, list[JournalledStep]] = {run: [] for run in runs}
    for row in await (await conn.execute(_STEPS, [list(runs)])).fetchall():
        found[row["run_id"]].append(JournalledStep(row["path"], row["port"], row["finished"]))
    return found


async def move(conn: AsyncConnection[DictRow], runs: Sequence[str], *, to: int, data: JsonObject) -> None:
    """Held runs go on with another version, and their stream of events says so."""
    await conn.execute(_MOVE, {"runs": list(runs), "to": to, "data": Jsonb(data)})
