"""The rows that remember failures, across replicas and restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

# Writing them, though nothing changes, locks them: whoever comes at the same time waits for what this one does.
_HELD = """
INSERT INTO attempts (mark) SELECT each FROM unnest(%(marks)s::bytea[]) AS each ORDER BY each
ON CONFLICT (mark) DO UPDATE SET mark = excluded.mark
RETURNING mark, level, extract(epoch FROM clock_timestamp() - at)::float8 AS age, trusted_until > now() AS trusted
"""
_WRITE = """
UPDATE attempts SET level = new.level, at = clock_timestamp()
FROM unnest(%(marks)s::bytea[], %(levels)s::float8[]) AS new (mark, level) WHERE attempts.mark = new.mark
"""
_TRUST = """
UPDATE attempts SET level = 0, at = clock_timestamp(), trusted_until = now() + %(days)s * interval '1 day'
WHERE mark = %(mark)s
"""
_FORGET = """
DELETE FROM attempts WHERE at < now() - interval '1 day' AND (trusted_until IS NULL OR trusted_until < now())
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """How full it was, how long ago, and whether a login succeeded with it lately."""

    level: float
    age: float
    trusted: bool


async def held(conn: AsyncConnection[DictRow], marks: Sequence[bytes]) -> dict[bytes, Mark]:
    """The marks, each locked until the end of the transaction; in one order, so that two never wait for each other."""
    cursor = await conn.execute(_HELD, {"marks": list(marks)})
    return _marks(await cursor.fetchall())


async def write(conn: AsyncConnection[DictRow], levels: Mapping[bytes, float]) -> None:
    await conn.execute(_WRITE, {"marks": list(levels), "levels": list(levels.values())})


async def trust(conn: AsyncConnection[DictRow], mark: bytes, *, days: int) -> None:
    await conn.execute(_TRUST, {"mark": mark, "days": days})


async def forget_old(conn: AsyncConnection[DictRow]) -> None:
    await conn.execute(_FORGET)


def _marks(rows: Sequence[DictRow]) -> dict[bytes, Mark]:
    return {bytes(row["mark"]): Mark(row["level"], max(0.0, row["age"]), bool(row["trusted"])) for row in rows}
