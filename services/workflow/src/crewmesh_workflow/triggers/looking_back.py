"""For an event that came shortly before a run began to wait for it.

A new wait looks among the events that were kept since its run began, and looks again at growing distances for two
minutes: by then the last transaction that could not see the wait when it took its event has ended. Nothing is given
twice, whoever comes first.
"""

from __future__ import annotations

import asyncio
from itertools import groupby

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import bound, get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.triggers.deliveries import Deliveries
from crewmesh_workflow.triggers.matching import segments
from crewmesh_workflow.triggers.repository import Wait
from crewmesh_workflow.triggers.schemas import FilterFailure

KEEP_HOURS = 24
_POLL_SECONDS = 1.0
_TAKEN = 200
_PAGE = 50
_PRUNE_ROUNDS = 600

# Whoever takes a wait has ten seconds for it; then somebody else looks.
_TAKE = """
WITH due AS (
    SELECT run_id, path FROM waits
    WHERE look_at <= now() AND status = 'open' AND event_type IS NOT NULL
    ORDER BY look_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE waits w SET look_at = now() + interval '10 seconds' FROM due
WHERE w.run_id = due.run_id AND w.path = due.path
RETURNING w.run_id AS run, w.path, w.org_id AS organization, w.event_type AS type, w.request, w.event_key AS key,
    w.created_at AS since
"""
_LATEST = """
SELECT at FROM recent_events WHERE org_id = %(org)s AND md5(type) = md5(%(type)s) AND type = %(type)s
ORDER BY at DESC LIMIT 1
"""
_SINCE = "SELECT id, created_at FROM runs WHERE id = ANY(%(runs)s)"
# What of the event equals the key is looked at here, for there may be many events and one for each run.
_RECENT = """
SELECT event_key, event, at FROM recent_events e
WHERE org_id = %(org)s AND md5(type) = md5(%(type)s) AND type = %(type)s
    AND (at, event_key) > (%(since)s, %(after)s)
    AND (%(key)s::text IS NULL OR event #>> %(path)s = %(key)s)
    AND NOT EXISTS (SELECT FROM delivered_events d WHERE d.run_id = %(run)s AND d.event_key = e.event_key)
ORDER BY at, event_key LIMIT %(limit)s
"""
# Again after as long as it has waited by now, but for two minutes only. One that is being committed is left to the next
# look: waiting for it here could be waiting in a circle.
_LOOKED = """
WITH looked AS (
    SELECT w.run_id, w.path FROM waits w
    JOIN unnest(%(runs)s::text[], %(paths)s::text[]) AS l(run, path) ON w.run_id = l.run AND w.path = l.path
    WHERE w.status = 'open' FOR UPDATE OF w SKIP LOCKED
)
UPDATE waits w SET look_at = CASE WHEN now() - created_at < interval '2 minutes'
    THEN now() + greatest(now() - created_at, interval '1 second') END
FROM looked WHERE w.run_id = looked.run_id AND w.path = looked.path
"""
_PRUNE = (
    "DELETE FROM recent_events WHERE at < now() - %(hours)s * interval '1 hour'",
    "DELETE FROM delivered_events WHERE at < now() - %(hours)s * interval '1 hour'",
)

log = get_logger(__name__)


class LookingBack:
    def __init__(self, database: Database, deliveries: Deliveries) -> None:
        self._database = database
        self._deliveries = deliveries

    async def run(self) -> None:
        rounds = 0
        while True:
            try:
                await self.sweep()
                if rounds % _PRUNE_ROUNDS == 0:
                    await self.prune()
            except DatabaseUnavailable as problem:
                log.warning("events that came early are not looked for", reason=problem.detail)
            rounds += 1
            await asyncio.sleep(_POLL_SECONDS)

    async def sweep(self) -> None:
        """Look back for every wait whose time for it has come."""
        while rows := await self._database.statement(_TAKE, {"limit": _TAKEN}):
            rows.sort(key=_kind)
            for (organization, type_), waits in groupby(rows, key=_kind):
                with bound(organization=organization):
                    await self._look(organization, type_, list(waits))
            if len(rows) < _TAKEN:
                return

    async def prune(self) -> None:
        for statement in _PRUNE:
            await self._database.statement(statement, {"hours": KEEP_HOURS})

    async def _look(self, organization: str, type_: str, waits: list[DictRow]) -> None:
        """``waits`` are those of one organization for one type of event."""
        latest = await self._database.statement(_LATEST, {"org": organization, "type": type_})
        runs = {row["run"] for row in waits}
        began = {row["id"]: row["created_at"] for row in await self._database.statement(_SINCE, {"runs": [*runs]})}
        for row in waits:
            since = began.get(row["run"])
            if latest and since is not None and latest[0]["at"] >= since:
                await self._look_for(row, since)
        looked = {"runs": [row["run"] for row in waits], "paths": [row["path"] for row in waits]}
        await self._database.statement(_LOOKED, looked)

    async def _look_for(self, row: DictRow, since: object) -> None:
        after = ""
        while True:
            async with self._database.tenant(row["organization"]) as conn:
                events = await self._recent(conn, row, since, after)
                for event in events:
                    if await self._give(conn, row, event["event_key"], event["event"]):
                        return
            if len(events) < _PAGE:
                return
            since, after = events[-1]["at"], events[-1]["event_key"]

    async def _recent(self, conn: AsyncConnection[DictRow], row: DictRow, since: object, after: str) -> list[DictRow]:
        path = [str(segment) for segment in segments(str(row["request"].get("correlation")))]
        parameters = {"org": row["organization"], "type": row["type"], "run": row["run"], "key": row["key"]}
        cursor = await conn.execute(
            _RECENT, {**parameters, "path": path, "since": since, "after": after, "limit": _PAGE}
        )
        return await cursor.fetchall()

    async def _give(self, conn: AsyncConnection[DictRow], row: DictRow, key: str, event: JsonObject) -> bool:
        wait = Wait(row["run"], row["path"], row["request"], row["key"], row["since"])
        nobody_asks: list[FilterFailure] = []  # the sender was answered long ago; what failed is logged
        return bool(await self._deliveries.give(conn, row["organization"], key, event, [wait], nobody_asks))


def _kind(row: DictRow) -> tuple[str, str]:
    return row["organization"], row["type"]
