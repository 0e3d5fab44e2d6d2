"""The search itself: one SQL statement.

Two rankings of the base's chunks, by nearness of meaning (cosine) and by words (full text), are fused by reciprocal
rank: a chunk earns 1 / (60 + rank) from each ranking it is in. Ranks compare where scores of different kinds do not.

In the ranking by words, a word counts the more the fewer chunks of the base have it, and one that a third of them have
does not count at all: everyday words of a question are in many chunks that do not answer it.
"""

from __future__ import annotations

from crewmesh_contracts.invocations import SearchHit
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_knowledge.embedding import Vectors
from crewmesh_knowledge.vectors import with_vectors

# `mine` is materialised so that the base's own chunks are looked at, all of them and nothing else, whatever indexes the
# table may get: an approximate index that is filtered afterwards returns hardly any row of a small base.
# A lexeme becomes a query by quoting, not by parsing: it was parsed already.
_SEARCH = r"""
WITH question AS MATERIALIZED (
    SELECT lexeme, ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS word
    FROM unnest(to_tsvector('english', %(query)s)) ORDER BY positions[1] LIMIT %(words)s
), mine AS MATERIALIZED (
    SELECT id, words, embedding <=> %(vector)s AS distance FROM chunks WHERE base_id = %(base)s
), found AS MATERIALIZED (
    SELECT mine.id, question.lexeme FROM mine JOIN question ON mine.words @@ question.word
), size AS MATERIALIZED (
    SELECT count(*)::float8 AS chunks FROM mine
), telling AS (
    SELECT lexeme, ln(1 + max(size.chunks) / count(*)) AS weight FROM found, size
    GROUP BY lexeme HAVING count(*) <= greatest(max(size.chunks) / 3, 3)
), by_meaning AS (
    SELECT id, rank() OVER (ORDER BY distance) AS rank
    FROM mine WHERE distance IS NOT NULL ORDER BY distance, id LIMIT %(candidates)s
), by_words AS (
    SELECT id, rank() OVER (ORDER BY sum(weight) DESC) AS rank
    FROM found JOIN telling USING (lexeme) GROUP BY id ORDER BY sum(weight) DESC, id LIMIT %(candidates)s
), fused AS (
    SELECT id, sum(1.0 / (60 + rank)) / (2.0 / 61) AS score
    FROM (SELECT id, rank FROM by_meaning UNION ALL SELECT id, rank FROM by_words) AS ranked
    GROUP BY id ORDER BY score DESC, id LIMIT %(limit)s
)
SELECT c.document_id AS document, d.title, c.position, c.text, round(f.score, 4)::float8 AS score
FROM fused f JOIN chunks c ON c.id = f.id JOIN documents d ON d.id = c.document_id
ORDER BY f.score DESC, f.id
"""

_MOST_WORDS = 32
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
            "words": _MOST_WORDS,
            "candidates": max(_FEWEST_CANDIDATES, 2 * limit),
        }
        await cursor.execute(_SEARCH, parameters)
        return await cursor.fetchall()
