"""The search itself: one SQL statement.

Two rankings of the base's chunks, by nearness of meaning (cosine) and by words (full text), are fused by reciprocal
rank: a chunk earns 1 / (60 + rank) from each ranking it is in. Ranks compare where scores of different kinds do not.
"""

from __future__ import annotations

from crewmesh_contracts.invocations import SearchHit
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_knowledge.embedding import Vectors
from crewmesh_knowledge.vectors import with_vectors

# `mine` is materialised so that the base's own chunks are looked at, all of them and nothing else, whatever indexes the
# table may get: an approximate index that is filtered afterwards returns hardly any row of a small base.
# Words are joined by "or": a question in sentences would find nothing if all of its words had to be in one chunk.
# They weigh less than meaning, because a question shares everyday words with many chunks that do not answer it.
_SEARCH = """
WITH question AS (
    SELECT replace(plainto_tsquery('english', %(query)s)::text, '&', '|')::tsquery AS words
), mine AS MATERIALIZED (
    SELECT id, embedding <=> %(vector)s AS distance, ts_rank_cd(chunks.words, question.words, 1) AS relevance
    FROM chunks, question WHERE base_id = %(base)s
), by_meaning AS (
    SELECT id, row_number() OVER (ORDER BY distance, id) AS rank
    FROM mine WHERE distance IS NOT NULL ORDER BY distance, id LIMIT %(candidates)s
), by_words AS (
    SELECT id, row_number() OVER (ORDER BY relevance DESC, id) AS rank
    FROM mine WHERE relevance > 0 ORDER BY relevance DESC, id LIMIT %(candidates)s
), fused AS (
    SELECT id, sum(weight / (60 + rank)) / (1.5 / 61) AS score
    FROM (SELECT id, rank, 1.0 AS weight FROM by_meaning UNION ALL SELECT id, rank, 0.5 FROM by_words) AS ranked
    GROUP BY id ORDER BY score DESC, id LIMIT %(limit)s
)
SELECT c.document_id AS document, d.title, c.position, c.text, round(f.score, 4)::float8 AS score
FROM fused f JOIN chunks c ON c.id = f.id JOIN documents d ON d.id = c.document_id
ORDER BY f.score DESC, f.id
"""

_FEWEST_CANDIDATES = 40


async def search(
    connection: AsyncConnection[DictRow], *, base_id: str, query: str, vector: Vectors, limit: int
) -> list[SearchHit]:
    """The best chunks first. The score is 1 for a chunk that is first in both rankings."""
    await with_vectors(connection)
    async with connection.cursor(row_factory=class_row(SearchHit)) as cursor:
        parameters = {
            "query": query,
            "vector": vector,
            "base": base_id,
            "limit": limit,
            "candidates": max(_FEWEST_CANDIDATES, 2 * limit),
        }
        await cursor.execute(_SEARCH, parameters)
        return await cursor.fetchall()
