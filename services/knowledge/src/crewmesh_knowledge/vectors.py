"""Teaching a connection the type ``vector``."""

from __future__ import annotations

from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from psycopg.rows import DictRow


async def with_vectors(connection: AsyncConnection[DictRow]) -> None:
    """Lets ``connection`` send numpy arrays as vectors. The types' ids are asked for once per pooled connection."""
    if connection.adapters.types.get("vector") is None:
        await register_vector_async(connection)
