"""Forgetting runs whose time is over, in batches that bother nobody.

A run goes with its steps, events, waits and decisions. Payloads in the blob store stay: they are named by their hash,
so that other runs may refer to the same. Which run an occurrence started is remembered as long as the run, and for a
week at least, so that an event that is delivered late starts nothing again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from crewmesh_kit.owned_data.forgetting import Forgettable
from crewmesh_kit.resources import Resources
from prometheus_client import Counter
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.runs.repository import id_at
from crewmesh_workflow.settings import RetentionSettings

RUNS_PURGED = Counter("crewmesh_workflow_runs_purged_total", "Runs forgotten because their time was over.")

_MOST_RUNS = 200
# A run has about as many events as it had steps, and more; so they say how much there is to delete.
_MOST_EVENTS = 20_000
_MOST_KEYS = 5_000
_REDELIVERY_DAYS = 7
_PRUNE_EVERY_SECONDS = 3_600

# The end of a run that somebody is yet to be told of is needed until then.
_TOLD: LiteralString = (
    "(parent_run IS NULL OR parent_told) AND NOT EXISTS (SELECT FROM ended_runs WHERE run_id = runs.id)"
)
# Of the runs in ``due`` as many as a batch may hold.
_BATCH: LiteralString = (
    " SELECT id FROM (SELECT id, sum(seq) OVER (ORDER BY since, id) - seq AS before FROM due) counted WHERE before < %s"
)
_DUE: LiteralString = (
    """
WITH due AS (
    SELECT id, seq, keep_until AS since FROM runs
    WHERE keep_until < now() AND finished_at IS NOT NULL AND """
    + _TOLD
    + """
    ORDER BY keep_until LIMIT %s FOR UPDATE SKIP LOCKED
)"""
    + _BATCH
)
_ENDED: LiteralString = (
    "SELECT finished_at IS NOT NULL AND " + _TOLD + " AS over FROM runs WHERE org_id = %s AND id = %s FOR UPDATE"
)
# What people were asked before and what they decided goes with the run, by its reference to it.
_FORGET = (
    "DELETE FROM waits WHERE run_id = ANY(%s)",
    "DELETE FROM arrivals WHERE run_id = ANY(%s)",
    "DELETE FROM delivered_events WHERE run_id = ANY(%s)",
    "DELETE FROM ended_runs WHERE run_id = ANY(%s)",
    "DELETE FROM steps WHERE run_id = ANY(%s)",
    "DELETE FROM run_events WHERE run_id = ANY(%s)",
    "DELETE FROM runs WHERE id = ANY(%s)",
)
# Ids of runs are ordered by time, so they tell how old a key is.
_OLD_KEYS = """
DELETE FROM event_starts WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_starts e
    WHERE run_id < %s AND NOT EXISTS (SELECT FROM runs WHERE runs.id = e.run_id) LIMIT %s))
"""
_OLD_DRAFTS = """
DELETE FROM workflow_versions v
WHERE version < 0 AND created_at < now() - interval '1 day' AND NOT EXISTS (
    SELECT FROM runs r WHERE r.workflow_version < 0
    AND r.workflow_id = v.workflow_id AND r.workflow_version = v.version)
"""

log = get_logger(__name__)


async def is_over(conn: AsyncConnection[DictRow], organization: str, run: str) -> bool:
    """Whether nobody needs the run any more; nothing changes about that until the transaction ends."""
    row = await (await conn.execute(_ENDED, [organization, run])).fetchone()
    return row is not None and row["over"]


async def forget(conn: AsyncConnection[DictRow], runs: Sequence[str]) -> None:
    """Delete these runs and all that belongs to them."""
    for statement in _FORGET:
        await conn.execute(statement, [[*runs]])


_OLD: LiteralString = "finished_at < now() - %s * interval '1 day' AND " + _TOLD
_COUNT_OLD = "SELECT count(*) AS n FROM runs WHERE " + _OLD
_FIND_OLD: LiteralString = (
    "WITH due AS (SELECT id, seq, finished_at AS since FROM runs WHERE "
    + _OLD
    + " ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED)"
    + _BATCH
)


async def _count_old(conn: AsyncConnection[DictRow], days: int) -> int:
    row = await (await conn.execute(_COUNT_OLD, [days])).fetchone()
    return 0 if row is None else int(row["n"])


async def _forget_old(conn: AsyncConnection[DictRow], days: int) -> int:
    rows = await (await conn.execute(_FIND_OLD, [days, _MOST_RUNS, _MOST_EVENTS])).fetchall()
    await forget(conn, [row["id"] for row in rows])
    return len(rows)


# An organization may want its runs forgotten sooner than its workflows say.
RUNS_BY_AGE = Forgettable("runs", _count_old, _forget_old)


class Retention:
    def __init__(self, database: Database, settings: RetentionSettings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> None:
        """Keep forgetting; replicas do so at different moments, and never the same runs."""
        pruned_at = time.monotonic()
        while True:
            await asyncio.sleep(self._settings.purge_seconds * random.uniform(0.5, 1.5))
            try:
                if purged := await self.purge_all():
                    log.info("runs were forgotten, their time was over", runs=purged)
                if time.monotonic() - pruned_at > _PRUNE_EVERY_SECONDS:
                    await self.prune()
                    pruned_at = time.monotonic()
            except DatabaseUnavailable as problem:
                log.warning("forgetting old runs waits for its next turn", reason=problem.detail)

    async def purge_all(self) -> int:
        """Everything that is due now, a batch at a time; how many runs that was."""
        purged = 0
        while batch := await self.purge():
            purged += batch
        return purged

    async def purge(self) -> int:
        """One batch."""
        async with self._database.system() as conn:
            rows = await (await conn.execute(_DUE, [_MOST_RUNS, _MOST_EVENTS])).fetchall()
            if rows:
                await forget(conn, [row["id"] for row in rows])
        RUNS_PURGED.inc(len(rows))
        return len(rows)

    async def prune(self) -> None:
        """What outlives its run: keys of occurrences, and drafts that were tried."""
        before = id_at(datetime.now(UTC) - timedelta(days=_REDELIVERY_DAYS))
        pruned = _MOST_KEYS
        while pruned == _MOST_KEYS:
            async with self._database.system() as conn:
                pruned = (await conn.execute(_OLD_KEYS, [before, _MOST_KEYS])).rowcount
        async with self._database.system() as conn:
            await conn.execute(_OLD_DRAFTS)


@asynccontextmanager
async def open_retention(resources: Resources, *, settings: RetentionSettings) -> AsyncGenerator[Retention]:
    yield Retention(resources.get(Database), settings)
