"""At most once per consumer: remembers the events it has dealt with, in the transaction that dealt with them."""

from __future__ import annotations

import hashlib

from crewmesh_contracts.events import CloudEvent
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic_core import to_json


async def first_time(conn: AsyncConnection[DictRow], consumer: str, event: CloudEvent) -> bool:
    """Whether ``consumer`` sees this event for the first time. A second delivery in parallel waits for the first."""
    # Hashed, for a source may be longer than an index entry.
    event_key = hashlib.sha256(to_json([event.source, event.id])).hexdigest()
    cursor = await conn.execute(
        "INSERT INTO inbox (consumer, org_id, event_key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [consumer, event.crewmeshorg or "", event_key],
    )
    return cursor.rowcount == 1
