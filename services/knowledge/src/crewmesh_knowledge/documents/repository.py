"""SQL of documents and their chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_knowledge.documents.chunking import Chunk
from crewmesh_knowledge.documents.schemas import Document, NewDocument
from crewmesh_knowledge.embedding import Vectors
from crewmesh_knowledge.vectors import with_vectors

_DOCUMENT = """
    SELECT d.id, d.title, length(d.text) AS characters, d.chunk_count AS chunks, d.created_at,
           d.chunk_count - (SELECT count(*) FROM chunks c WHERE c.document_id = d.id AND c.embedding IS NULL)
               AS indexed_chunks
    FROM documents d
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a document goes."""

    organization: str
    base_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unindexed:
    """A chunk that has no vector yet, locked by the transaction that found it."""

    id: str
    text: str


async def add(
    connection: AsyncConnection[DictRow],
    place: Place,
    new: NewDocument,
    *,
    content_hash: bytes,
    chunks: Sequence[Chunk],
) -> str | None:
    """The id of the new document, or none when the base holds this content already."""
    id_ = new_id("doc")
    added = await connection.execute(
        """
        INSERT INTO documents (id, org_id, base_id, title, text, content_hash, chunk_count)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (base_id, content_hash) DO NOTHING
        """,
        (id_, place.organization, place.base_id, new.title, new.text, content_hash, len(chunks)),
    )
    if added.rowcount == 0:
        return None
    await _add_chunks(connection, place, id_, new.title, chunks)
    return id_


async def _add_chunks(
    connection: AsyncConnection[DictRow], place: Place, document_id: str, title: str, chunks: Sequence[Chunk]
) -> None:
    parents = (place.organization, place.base_id, document_id)
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO chunks (id, org_id, base_id, document_id, position, start, text, words)
            VALUES (%s, %s, %s, %s, %s, %s, %s,
                    setweight(to_tsvector('english', %s), 'A') || to_tsvector('english', %s))
            """,
            [(new_id("chk"), *parents, chunk.position, chunk.start, chunk.text, title, chunk.text) for chunk in chunks],
        )


async def with_content(connection: AsyncConnection[DictRow], base_id: str, content_hash: bytes) -> Document | None:
    async with connection.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(f"{_DOCUMENT} WHERE d.base_id = %s AND d.content_hash = %s", (base_id, content_hash))
        return await cursor.fetchone()


async def get(connection: AsyncConnection[DictRow], base_id: str, id_: str) -> Document | None:
    async with connection.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(f"{_DOCUMENT} WHERE d.base_id = %s AND d.id = %s", (base_id, id_))
        return await cursor.fetchone()


async def after(connection: AsyncConnection[DictRow], base_id: str, id_: str, limit: int) -> list[Document]:
    """Documents younger than ``id_``, oldest first: ids grow with time."""
    async with connection.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(
            f"{_DOCUMENT} WHERE d.base_id = %s AND d.id > %s ORDER BY d.id LIMIT %s", (base_id, id_, limit)
        )
        return await cursor.fetchall()


async def delete(connection: AsyncConnection[DictRow], base_id: str, id_: str) -> bool:
    deleted = await connection.execute("DELETE FROM documents WHERE base_id = %s AND id = %s", (base_id, id_))
    return deleted.rowcount > 0


async def claim_unindexed(connection: AsyncConnection[DictRow], limit: int) -> list[Unindexed]:
    """Chunks without a vector that nobody else works on, of any organization.

    First chunks come first, so that a small document never waits for the end of a large one.
    """
    async with connection.cursor(row_factory=class_row(Unindexed)) as cursor:
        await cursor.execute(
            """
            SELECT id, text FROM chunks WHERE embedding IS NULL
            ORDER BY position, id LIMIT %s FOR UPDATE SKIP LOCKED
            """,
            (limit,),
        )
        return await cursor.fetchall()


async def set_vectors(connection: AsyncConnection[DictRow], chunks: Sequence[Unindexed], vectors: Vectors) -> None:
    await with_vectors(connection)
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "UPDATE chunks SET embedding = %s WHERE id = %s",
            [(vector, chunk.id) for vector, chunk in zip(vectors, chunks, strict=True)],
        )
