"""At most once per consumer: remembers the events it has dealt with, in the transaction that dealt with them."""

from __future__ import annotations

from crewmesh_contracts.events import CloudEvent
from psycopg import AsyncConnection
from psycopg.rows import DictRow


async def first_time(conn: AsyncConnection[DictRow], consumer: str, event: CloudEvent) -> bool:
    """Whether ``consumer`` sees this event for the first time. A second delivery in parallel waits for the first."""
    cursor = await conn.execute(
        "INSERT INTO inbox (consumer, source, event_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [consumer, event.source, event.id],
    )
    return cursor.rowcount == 1
