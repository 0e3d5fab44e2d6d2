"""SQL of the audit log. Row-level security narrows every statement to the organization of the connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Literal

from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.audit.chain import GENESIS
from crewmesh_gateway.audit.models import Filters, Head, Line

_NAMES = [field.name for field in fields(Line)]
_COLUMNS, _VALUES = ", ".join(_NAMES), attrgetter(*_NAMES)
# Made with the first line, and locked: whoever comes meanwhile adds its lines behind ours. None is made for an
# organization that is not there (any more).
_LOCK_HEAD = """
INSERT INTO audit_heads (org_id) SELECT id FROM organizations WHERE id = %s
ON CONFLICT (org_id) DO UPDATE SET seq = audit_heads.seq
RETURNING seq, hash, anchor_seq, anchor_hash
"""
_HEAD = "SELECT seq, hash, anchor_seq, anchor_hash FROM audit_heads WHERE org_id = %s"
_KNOWN = "SELECT id FROM audit_events WHERE org_id = %s AND id = ANY(%s)"
# One statement, however many lines: the types are those of the columns of Line, in their order.
_TYPES = ["bigint", "text", *["timestamptz"] * 2, *["text"] * 10, *["bytea"] * 2]
_ADD = f"""
INSERT INTO audit_events (org_id, {_COLUMNS})
SELECT %s, * FROM unnest({", ".join(f"%s::{type_}[]" for type_ in _TYPES)})
"""
_MOVE_HEAD = "UPDATE audit_heads SET seq = %s, hash = %s WHERE org_id = %s"
_LINE = f"SELECT {_COLUMNS} FROM audit_events WHERE org_id = %s AND id = %s"
_AFTER = f"SELECT {_COLUMNS} FROM audit_events WHERE org_id = %s AND seq > %s ORDER BY seq LIMIT %s"
# The last line before the first that stays: only what is at the old end leaves, whatever the clocks said.
_LAST_TO_LEAVE = """
WITH oldest AS (
    SELECT seq, hash, received_at FROM audit_events WHERE org_id = %s AND seq > %s ORDER BY seq LIMIT %s
), staying AS (SELECT min(seq) AS first FROM oldest WHERE received_at >= %s)
SELECT seq, hash FROM oldest, staying WHERE first IS NULL OR seq < first ORDER BY seq DESC LIMIT 1
"""
_ALLOW_LEAVING = "SELECT set_config('app.audit_retention', %s, true)"
_MOVE_ANCHOR = "UPDATE audit_heads SET anchor_seq = %s, anchor_hash = %s WHERE org_id = %s"
_REMOVE = "DELETE FROM audit_events WHERE org_id = %s AND seq <= %s"
_ORGANIZATIONS = "SELECT org_id FROM audit_heads ORDER BY org_id"


async def lock_head(conn: AsyncConnection[DictRow], organization: str) -> Head | None:
    """Where the chain stands, until the transaction ends; none when there is no such organization."""
    async with conn.cursor(row_factory=class_row(Head)) as cursor:
        await cursor.execute(_LOCK_HEAD, [organization])
        return await cursor.fetchone()


async def head(conn: AsyncConnection[DictRow], organization: str) -> Head:
    async with conn.cursor(row_factory=class_row(Head)) as cursor:
        await cursor.execute(_HEAD, [organization])
        return await cursor.fetchone() or Head(seq=0, hash=GENESIS, anchor_seq=0, anchor_hash=GENESIS)


async def known(conn: AsyncConnection[DictRow], organization: str, ids: Sequence[str]) -> set[str]:
    """Which of these lines are there."""
    cursor = await conn.execute(_KNOWN, [organization, list(ids)])
    return {row["id"] for row in await cursor.fetchall()}


async def add(conn: AsyncConnection[DictRow], organization: str, lines: Sequence[Line]) -> None:
    """Behind the end, which is locked."""
    columns = zip(*map(_VALUES, lines), strict=True)
    await conn.execute(_ADD.encode(), [organization, *map(list, columns)])
    await conn.execute(_MOVE_HEAD, [lines[-1].seq, lines[-1].hash, organization])


async def line(conn: AsyncConnection[DictRow], organization: str, id_: str) -> Line | None:
    async with conn.cursor(row_factory=class_row(Line)) as cursor:
        await cursor.execute(_LINE.encode(), [organization, id_])
        return await cursor.fetchone()


async def after(conn: AsyncConnection[DictRow], organization: str, seq: int, limit: int) -> list[Line]:
    """The chain as it is, also beyond its end."""
    async with conn.cursor(row_factory=class_row(Line)) as cursor:
        await cursor.execute(_AFTER.encode(), [organization, seq, limit])
        return await cursor.fetchall()


async def found(
    conn: AsyncConnection[DictRow],
    organization: str,
    filters: Filters,
    *,
    order: Literal["newest", "oldest"],
    beyond: int | None,
    limit: int,
) -> list[Line]:
    """Lines that the filters let through; ``beyond``: where the page before ended."""
    compare, direction = ("<", "DESC") if order == "newest" else (">", "ASC")
    conditions = ["org_id = %(org)s", *_conditions(filters)]
    if beyond is not None:
        conditions.append(f"seq {compare} %(beyond)s")
    query = (
        f"SELECT {_COLUMNS} FROM audit_events WHERE {' AND '.join(conditions)} ORDER BY seq {direction} LIMIT %(limit)s"
    )
    parameters: dict[str, object] = {
        "org": organization,
        "beyond": beyond,
        "limit": limit,
        "actor": filters.actor,
        "action": filters.action,
        "prefix": _escaped(filters.action or "") + "%",
        "resource": filters.resource,
        "outcome": filters.outcome,
        "since": filters.since,
        "until": filters.until,
        "text": filters.text,
    }
    async with conn.cursor(row_factory=class_row(Line)) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchall()


async def remove_older(conn: AsyncConnection[DictRow], organization: str, before: datetime, *, most: int) -> int:
    """Lines from before leave, up to ``most``; what the chain begins behind is remembered. The end is locked."""
    anchor = (await head(conn, organization)).anchor_seq
    row = await (await conn.execute(_LAST_TO_LEAVE, [organization, anchor, most, before])).fetchone()
    if row is None:
        return 0
    await conn.execute(_ALLOW_LEAVING, [organization])
    await conn.execute(_MOVE_ANCHOR, [row["seq"], row["hash"], organization])
    return (await conn.execute(_REMOVE, [organization, row["seq"]])).rowcount


async def organizations(conn: AsyncConnection[DictRow]) -> list[str]:
    """Those that have a log."""
    return [row["org_id"] for row in await (await conn.execute(_ORGANIZATIONS)).fetchall()]


def _conditions(filters: Filters) -> list[str]:
    """Only what is asked for, so that the index that fits is used."""
    action = "action LIKE %(prefix)s" if (filters.action or "").endswith(".") else "action = %(action)s"
    text = "strpos(lower(concat_ws(' ', actor, acting_for, action, resource, before, after)), lower(%(text)s)) > 0"
    wanted = (
        (filters.actor, "(actor = %(actor)s OR acting_for = %(actor)s)"),
        (filters.action, action),
        (filters.resource, "resource = %(resource)s"),
        (filters.outcome, "outcome = %(outcome)s"),
        (filters.since, "at >= %(since)s"),
        (filters.until, "at < %(until)s"),
        (filters.text, text),
    )
    return [condition for value, condition in wanted if value is not None]


def _escaped(text: str) -> str:
    for character in ("\\", "%", "_"):
        text = text.replace(character, "\\" + character)
    return text
