"""Telling people that they are asked, and asking more of them when nobody decides in time.

Both leave as events in the transaction that notes them, so each leaves once, whichever replica sees it first. Rows that
somebody decides right now are left for the next look; decisions are never held up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import ApprovalEscalated, ApprovalRequested
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

_POLL_SECONDS = 1.0
_BATCH = 100
_TOLD = """
RETURNING w.org_id, w.id, w.kind, w.request, w.until, w.run_id, r.workflow_id, r.workflow_version,
    w.status = 'open' AND w.verdict IS NULL AS open
"""
_ANNOUNCE = f"""
UPDATE waits w SET announced = true FROM runs r
WHERE r.id = w.run_id AND w.id = ANY(ARRAY(
    SELECT id FROM waits WHERE NOT announced AND kind IN ('approval', 'input', 'outcome')
    ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)) {_TOLD}
"""
# An empty list of assignees asks everybody already, and stays empty: naming some would ask fewer.
_ESCALATE = f"""
UPDATE waits w SET escalate_at = NULL, request = CASE
    WHEN coalesce(w.request->'assignees', '[]') = '[]' THEN w.request
    ELSE jsonb_set(w.request, '{{assignees}}', (w.request->'assignees') || coalesce(
        (SELECT jsonb_agg(more) FROM jsonb_array_elements(w.request->'escalation'->'to') AS more
         WHERE NOT (w.request->'assignees') @> jsonb_build_array(more)), '[]')) END
FROM runs r
WHERE r.id = w.run_id AND w.id = ANY(ARRAY(
    SELECT id FROM waits WHERE status = 'open' AND escalate_at <= now() AND verdict IS NULL
    ORDER BY escalate_at LIMIT %s FOR UPDATE SKIP LOCKED
)) {_TOLD}
"""

log = get_logger(__name__)


class _Asked(TypedDict):
    org_id: str
    id: str
    kind: Literal["approval", "input", "outcome"]
    request: JsonObject
    until: datetime | None
    open: bool
    run_id: str
    workflow_id: str
    workflow_version: int


class Reminders:
    """The loop. Every replica runs one; they share the rows without meeting."""

    def __init__(self, database: Database, *, poll_seconds: float = _POLL_SECONDS) -> None:
        self._database = database
        self._poll = poll_seconds

    async def run(self) -> None:
        while True:
            try:
                while await self.remind() > 0:
                    pass
            except DatabaseUnavailable as problem:
                log.warning("nobody is reminded of approvals", reason=problem.detail)
            await asyncio.sleep(self._poll)

    async def remind(self) -> int:
        """One look; how many questions there were to tell of."""
        return await self._announce() + await self._escalate()

    async def _announce(self) -> int:
        async with self._database.system() as conn:
            asked = await _rows(conn, _ANNOUNCE)
            for row in asked:
                if row["open"]:
                    await outbox.add(conn, _requested(row))
        return len(asked)

    async def _escalate(self) -> int:
        async with self._database.system() as conn:
            escalated = await _rows(conn, _ESCALATE)
            for row in escalated:
                await outbox.add(conn, _escalated(row))
        return len(escalated)


async def _rows(conn: AsyncConnection[DictRow], statement: str) -> Sequence[_Asked]:
    cursor = await conn.execute(statement.encode(), [_BATCH])
    return cast("list[_Asked]", await cursor.fetchall())


def _requested(row: _Asked) -> ApprovalRequested:
    return ApprovalRequested(
        organization=row["org_id"],
        run=row["run_id"],
        workflow=row["workflow_id"],
        workflow_version=row["workflow_version"],
        approval=row["id"],
        kind=row["kind"],
        title=str(row["request"].get("title") or ""),
        assignees=tuple(cast("list[str]", row["request"].get("assignees") or [])),
        until=row["until"],
    )


def _escalated(row: _Asked) -> ApprovalEscalated:
    escalation = cast(JsonObject, row["request"].get("escalation") or {})
    return ApprovalEscalated(
        organization=row["org_id"],
        run=row["run_id"],
        workflow=row["workflow_id"],
        workflow_version=row["workflow_version"],
        approval=row["id"],
        kind=row["kind"],
        title=str(row["request"].get("title") or ""),
        to=tuple(cast("list[str]", escalation.get("to") or [])),
        until=row["until"],
    )
