"""Exports and their parts in the database."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.exports.schemas import Export

_SHOWN = "id, status, requested_by, service, rows, bytes, error, created_at, finished_at, expires_at"
_TAKE = """
UPDATE exports SET status = 'running', attempts = attempts + 1, due_at = now() + %s * interval '1 second'
WHERE id = (SELECT id FROM exports WHERE due_at <= now() AND status IN ('queued', 'running')
            ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, org_id, requested_by, service, cursor, parts, attempts
"""
# Only as long as nobody else took it up, or deleted it.
_ADVANCE = """
UPDATE exports SET service = %(service)s, cursor = %(cursor)s, rows = rows + %(rows)s, bytes = bytes + %(bytes)s,
    parts = parts + %(parts)s, due_at = now() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND status = 'running' AND attempts = %(attempts)s
"""
_END = """
UPDATE exports SET status = %(status)s, error = %(error)s, service = NULL, finished_at = now(),
    expires_at = now() + %(days)s * interval '1 day', due_at = now() + %(days)s * interval '1 day'
WHERE id = %(id)s AND status = 'running' AND attempts = %(attempts)s
"""
_PAUSE = """
UPDATE exports SET error = %(error)s, due_at = now() + %(seconds)s * interval '1 second'
WHERE id = %(id)s AND status = 'running' AND attempts = %(attempts)s
"""
_TAKE_EXPIRED = """
UPDATE exports SET status = 'expired', due_at = NULL
WHERE id = (SELECT id FROM exports WHERE due_at <= now() AND status IN ('done', 'failed') LIMIT 1
            FOR UPDATE SKIP LOCKED)
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """An export to go on with. ``attempts`` tells whether it is still ours."""

    id: str
    organization: str
    requested_by: str
    service: str | None
    cursor: str | None
    parts: int
    attempts: int


async def add(conn: AsyncConnection[DictRow], organization: str, export: str, requested_by: str) -> bool:
    """False when another one is not finished."""
    added = await conn.execute(
        "INSERT INTO exports (id, org_id, requested_by) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [export, organization, requested_by],
    )
    return added.rowcount == 1


async def unfinished(conn: AsyncConnection[DictRow]) -> str | None:
    row = await (await conn.execute("SELECT id FROM exports WHERE status IN ('queued', 'running')")).fetchone()
    return None if row is None else str(row["id"])


async def get(conn: AsyncConnection[DictRow], export: str) -> Export | None:
    row = await (await conn.execute(f"SELECT {_SHOWN} FROM exports WHERE id = %s".encode(), [export])).fetchone()
    return None if row is None else Export.model_validate(row)


async def hold(conn: AsyncConnection[DictRow], export: str) -> None:
    """Until the transaction ends it gets no further."""
    await conn.execute("SELECT id FROM exports WHERE id = %s FOR UPDATE", [export])


async def newest_first(conn: AsyncConnection[DictRow], before: str | None, limit: int) -> list[Export]:
    query = (
        f"SELECT {_SHOWN} FROM exports WHERE %(before)s::text IS NULL OR id < %(before)s ORDER BY id DESC LIMIT %(n)s"
    )
    rows = await (await conn.execute(query.encode(), {"before": before, "n": limit})).fetchall()
    return [Export.model_validate(row) for row in rows]


async def blobs(conn: AsyncConnection[DictRow], export: str) -> list[str]:
    """In the order of the file."""
    rows = await conn.execute("SELECT blob FROM export_parts WHERE export_id = %s ORDER BY number", [export])
    return [row["blob"] for row in await rows.fetchall()]


async def delete(conn: AsyncConnection[DictRow], export: str) -> None:
    await conn.execute("DELETE FROM exports WHERE id = %s", [export])


async def take(conn: AsyncConnection[DictRow], *, lease_seconds: float) -> Taken | None:
    row = await (await conn.execute(_TAKE, [lease_seconds])).fetchone()
    if row is None:
        return None
    return Taken(
        row["id"], row["org_id"], row["requested_by"], row["service"], row["cursor"], row["parts"], row["attempts"]
    )


async def advance(
    conn: AsyncConnection[DictRow],
    taken: Taken,
    *,
    service: str,
    cursor: str | None,
    rows: int,
    blob: str | None,
    size: int,
    lease_seconds: float,
) -> bool:
    """Write down a page with its part. False: the export is not ours any more."""
    moved = {"id": taken.id, "attempts": taken.attempts, "service": service, "cursor": cursor, "rows": rows}
    moved |= {"bytes": size, "parts": int(blob is not None), "lease": lease_seconds}
    if (await conn.execute(_ADVANCE, moved)).rowcount == 0:
        return False
    if blob is not None:
        await conn.execute(
            "INSERT INTO export_parts (export_id, org_id, number, blob, bytes) VALUES (%s, %s, %s, %s, %s)",
            [taken.id, taken.organization, taken.parts, blob, size],
        )
    return True


async def end(conn: AsyncConnection[DictRow], taken: Taken, *, error: str | None, keep_days: float) -> None:
    status = "done" if error is None else "failed"
    ended = {"id": taken.id, "attempts": taken.attempts, "status": status, "error": error, "days": keep_days}
    await conn.execute(_END, ended)


async def pause(conn: AsyncConnection[DictRow], taken: Taken, *, error: str, seconds: float) -> None:
    await conn.execute(_PAUSE, {"id": taken.id, "attempts": taken.attempts, "error": error, "seconds": seconds})


async def take_expired(conn: AsyncConnection[DictRow]) -> str | None:
    row = await (await conn.execute(_TAKE_EXPIRED)).fetchone()
    return None if row is None else str(row["id"])


async def drop_parts(conn: AsyncConnection[DictRow], export: str) -> None:
    await conn.execute("DELETE FROM export_parts WHERE export_id = %s", [export])
