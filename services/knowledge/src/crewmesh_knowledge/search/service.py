"""Finding the chunks that answer a question."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.invocations import SearchRequest, SearchResult
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources

from crewmesh_knowledge.bases.service import Bases
from crewmesh_knowledge.embedding import Embedder
from crewmesh_knowledge.search import repository


class Search:
    def __init__(self, database: Database, embedder: Embedder, bases: Bases) -> None:
        self._database = database
        self._embedder = embedder
        self._bases = bases

    async def search(self, identity: Identity, request: SearchRequest) -> SearchResult:
        query = request.query.replace("\0", " ").strip()
        if not query:
            raise ValidationFailed("The query holds nothing but white space. Say in words what is looked for.")
        base = await self._bases.get(identity, request.knowledge_base)
        # No connection is held while the model thinks.
        vector = await self._embedder.embed_one(query)
        async with self._database.tenant(identity.organization) as connection:
            hits = await repository.search(connection, base_id=base.id, query=query, vector=vector, limit=request.limit)
        return SearchResult(hits=tuple(hits))


@asynccontextmanager
async def open_search(resources: Resources) -> AsyncGenerator[Search]:
    yield Search(resources.get(Database), resources.get(Embedder), resources.get(Bases))
