"""Keeping memories, and finding those that are near in meaning to a question."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.invocations import ForgetRequest, RecallRequest, RecallResult, Remembered, RememberRequest
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources

from crewmesh_knowledge.embedding import Embedder
from crewmesh_knowledge.memories import repository


class Memories:
    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder

    async def remember(self, identity: Identity, request: RememberRequest) -> int:
        """Of several with one id, the last counts."""
        memories = [*{each.id: _storable(each) for each in request.memories}.values()]
        # No connection is held while the model thinks.
        vectors = await self._embedder.embed([each.text for each in memories])
        async with self._database.tenant(identity.organization) as conn:
            return await repository.keep(
                conn, identity.organization, request.namespace, memories, vectors, most=request.keep
            )

    async def recall(self, identity: Identity, request: RecallRequest) -> RecallResult:
        vector = await self._embedder.embed_one(request.query.replace("\0", " "))
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.nearest(
                conn,
                identity.organization,
                request.namespaces,
                vector,
                limit=request.limit,
                least=request.least,
            )
        return RecallResult(memories=tuple(found))

    async def forget(self, identity: Identity, request: ForgetRequest) -> int:
        async with self._database.tenant(identity.organization) as conn:
            return await repository.forget(conn, identity.organization, request.namespace, request.beginnings)


def _storable(memory: Remembered) -> Remembered:
    """PostgreSQL stores any character but NUL."""
    return memory.model_copy(update={"text": memory.text.replace("\0", " ")})


@asynccontextmanager
async def open_memories(resources: Resources) -> AsyncGenerator[Memories]:
    yield Memories(resources.get(Database), resources.get(Embedder))
