"""SQL of memories. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from crewmesh_contracts.invocations import Recalled, Remembered
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_knowledge.embedding import Vectors
from crewmesh_knowledge.vectors import with_vectors

_KEEP = """
INSERT INTO memories AS known (org_id, namespace, id, text, trusted, embedding)
VALUES (%(org)s, %(namespace)s, %(id)s, %(text)s, %(trusted)s, %(embedding)s)
ON CONFLICT (org_id, namespace, id)
DO UPDATE SET text = excluded.text, trusted = excluded.trusted, embedding = excluded.embedding, at = now()
"""
_DROP_OLDEST = """
DELETE FROM memories WHERE org_id = %(org)s AND namespace = %(namespace)s AND id IN (
    SELECT id FROM memories WHERE org_id = %(org)s AND namespace = %(namespace)s
    ORDER BY at DESC, id DESC OFFSET %(keep)s
)
"""
_HELD = "SELECT count(*) AS n FROM memories WHERE org_id = %(org)s AND namespace = %(namespace)s"
_NEAREST = """
WITH mine AS MATERIALIZED (
    SELECT namespace, id, text, trusted, at, embedding <=> %(vector)s AS distance
    FROM memories WHERE org_id = %(org)s AND namespace = ANY(%(namespaces)s)
)
SELECT namespace, id, text, trusted, at, round((1 - distance)::numeric, 4)::float8 AS score
FROM mine WHERE 1 - distance >= %(least)s ORDER BY distance, namespace, id LIMIT %(limit)s
"""
_FORGET = """
DELETE FROM memories WHERE org_id = %(org)s
  AND (namespace = %(namespace)s OR starts_with(namespace, %(namespace)s || ':'))
  AND (%(all)s OR EXISTS (SELECT FROM unnest(%(beginnings)s::text[]) AS beginning WHERE starts_with(id, beginning)))
"""


async def keep(
    conn: AsyncConnection[DictRow],
    organization: str,
    namespace: str,
    memories: Sequence[Remembered],
    vectors: Vectors,
    *,
    most: int,
) -> int:
    """How many there are then."""
    await with_vectors(conn)
    place: dict[str, object] = {"org": organization, "namespace": namespace}
    async with conn.cursor() as cursor:
        rows = [
            {**place, "id": each.id, "text": each.text, "trusted": each.trusted, "embedding": vector}
            for each, vector in zip(memories, vectors, strict=True)
        ]
        await cursor.executemany(_KEEP, rows)
    await conn.execute(_DROP_OLDEST, {**place, "keep": most})
    row = await (await conn.execute(_HELD, place)).fetchone()
    return 0 if row is None else cast(int, row["n"])


async def nearest(
    conn: AsyncConnection[DictRow],
    organization: str,
    namespaces: Sequence[str],
    vector: Vectors,
    *,
    limit: int,
    least: float,
) -> list[Recalled]:
    await with_vectors(conn)
    asked = {"org": organization, "namespaces": [*namespaces], "vector": vector, "limit": limit, "least": least}
    async with conn.cursor(row_factory=class_row(Recalled)) as cursor:
        await cursor.execute(_NEAREST, asked)
        return await cursor.fetchall()


async def forget(conn: AsyncConnection[DictRow], organization: str, namespace: str, beginnings: Sequence[str]) -> int:
    """In the namespace and below it, those whose ids begin so; all, when no beginning is named."""
    asked = {"org": organization, "namespace": namespace, "beginnings": [*beginnings], "all": not beginnings}
    return (await conn.execute(_FORGET, asked)).rowcount
