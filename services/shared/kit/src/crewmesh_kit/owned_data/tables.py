"""The tables that hold an organization's data, read from the catalogue: a new one is exported and forgotten unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

# What the kit needs for its own work: on its way, or gone in days.
_OF_THE_KIT = ("outbox", "inbox", "idempotency", "dead_letters")

_TABLES = """
SELECT c.oid::int AS id, c.relname AS name,
       ARRAY(SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)) AS key,
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)) AS types,
       ARRAY(SELECT k.confrelid::int FROM pg_constraint k
             WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid) AS refers_to
FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id' AND NOT a.attisdropped)
ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class Table:
    """``key`` is its primary key, with the types of its columns."""

    name: str
    key: tuple[str, ...]
    types: tuple[str, ...]


async def owned_tables(conn: AsyncConnection[DictRow]) -> list[Table]:
    """Every table with a column org_id but the kit's own; those that refer to others stand before them."""
    rows = await (await conn.execute(_TABLES)).fetchall()
    ordered = _children_first({row["id"]: row["refers_to"] for row in rows})
    by_id = {row["id"]: row for row in rows}
    tables = [Table(by_id[id_]["name"], tuple(by_id[id_]["key"]), tuple(by_id[id_]["types"])) for id_ in ordered]
    return [table for table in tables if table.name not in _OF_THE_KIT]


def _children_first(refers_to: dict[int, Sequence[int]]) -> list[int]:
    ordered: list[int] = []
    remaining = dict(refers_to)
    while remaining:
        wanted = {parent for parents in remaining.values() for parent in parents}
        free = [id_ for id_ in remaining if id_ not in wanted] or [next(iter(remaining))]  # a circle is cut somewhere
        ordered += free
        for id_ in free:
            del remaining[id_]
    return ordered
