"""SQL of events: who asked for one, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row
from pydantic_core import to_json

_MATCHING = """
SELECT id, key, kind, workflow_id AS workflow, workflow_version AS version, config ->> 'filter' AS filter
FROM triggers
WHERE org_id = %s AND md5(event_type) = md5(%s) AND event_type = %s AND enabled
    AND (event_source IS NULL OR event_source = %s)
ORDER BY workflow_id, key
"""
# Those with a key that the event does not hold anywhere are left out here, for there may be very many.
_WAITING = """
SELECT run_id AS run, path, request, event_key AS key, created_at AS since FROM waits
WHERE org_id = %(org)s AND md5(event_type) = md5(%(type)s) AND event_type = %(type)s AND status = 'open'
    AND (event_key IS NULL OR %(texts)s::text[] IS NULL OR event_key = ANY(%(texts)s) OR event_key ~ '^[[{]')
ORDER BY run_id, path
"""
_KEEP = """
INSERT INTO recent_events (org_id, event_key, type, event) VALUES (%s, %s, %s, %s::jsonb) ON CONFLICT DO NOTHING
"""
_DELIVERED = """
INSERT INTO delivered_events (org_id, run_id, event_key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""
_NOT_DELIVERED = "DELETE FROM delivered_events WHERE org_id = %s AND run_id = %s AND event_key = %s"


@dataclass(frozen=True, slots=True)
class Match:
    """A trigger for events of a type and source; of kind ``wait``, it says that runs may wait for them."""

    id: str
    key: str
    kind: str
    workflow: str
    version: int
    filter: str | None


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that waits for an event of a type."""

    run: str
    path: str
    request: JsonObject
    key: str | None
    since: datetime


async def matching(conn: AsyncConnection[DictRow], organization: str, type_: str, source: str) -> list[Match]:
    """The triggers that want an event of this type and source."""
    async with conn.cursor(row_factory=class_row(Match)) as cursor:
        await cursor.execute(_MATCHING, [organization, type_, type_, source])
        return await cursor.fetchall()


async def keep_and_look(
    conn: AsyncConnection[DictRow],
    organization: str,
    key: str,
    type_: str,
    event: JsonObject,
    texts: Sequence[str] | None,
) -> list[Wait]:
    """Keep the event, then give the steps that wait for one of its type; whoever comes to wait later finds it kept.

    In an order that is always the same, so that two events that wake the same runs do not block each other.
    """
    sought = {"org": organization, "type": type_, "texts": texts and [*texts]}
    async with conn.pipeline():
        await conn.execute(_KEEP, [organization, key, type_, to_json(event).decode()])
        cursor = await conn.cursor(row_factory=class_row(Wait)).execute(_WAITING, sought)
    return await cursor.fetchall()


async def deliver(conn: AsyncConnection[DictRow], organization: str, run: str, key: str) -> bool:
    """Note that the run gets the event; false when it had got it before."""
    return (await conn.execute(_DELIVERED, [organization, run, key])).rowcount == 1


async def not_delivered(conn: AsyncConnection[DictRow], organization: str, run: str, key: str) -> None:
    await conn.execute(_NOT_DELIVERED, [organization, run, key])
