"""Taking documents in, and telling what became of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_knowledge.access import CHANGE, SEE
from crewmesh_knowledge.bases.service import Bases
from crewmesh_knowledge.documents import repository
from crewmesh_knowledge.documents.chunking import Chunk, chunks_of
from crewmesh_knowledge.documents.errors import UnknownDocument
from crewmesh_knowledge.documents.indexing import Indexer
from crewmesh_knowledge.documents.schemas import Document, NewDocument
from crewmesh_knowledge.settings import ChunkingSettings, KnowledgeSettings

_LONGEST_WAIT_FOR_PROGRESS = 0.25  # another replica may do the work, and it does not tell us


@dataclass(frozen=True, kw_only=True)
class Documents:
    database: Database
    idempotency: Idempotency
    bases: Bases
    indexer: Indexer
    settings: KnowledgeSettings

    async def add(self, identity: Identity, base_name: str, new: NewDocument, *, key: str | None) -> Document:
        """Take a document in. Content that the base holds already is not taken twice: that document is the answer."""
        organization = identity.organization
        async with self.database.tenant(organization) as connection:
            base = await self.bases.reached(connection, identity, base_name, CHANGE)
            place = repository.Place(organization=organization, base_id=base.id)

            async def work() -> Document:
                return await self.take_in(connection, place, new, by=identity)

            taken = await self.idempotency.once_in(
                connection, identity=identity, scope=f"documents/{base.id}", key=key, request=new, work=work
            )
        self.indexer.wake()
        return await self._settled(organization, place.base_id, taken)

    async def take_in(
        self,
        connection: AsyncConnection[DictRow],
        place: repository.Place,
        new: NewDocument,
        *,
        by: Identity | None = None,
    ) -> Document:
        """Write document and chunks in the caller's transaction; wake the indexer when it is committed.

        ``by``: who wants it so, for the audit log; nobody when it is starting content.
        """
        content_hash = hashlib.sha256(new.text.encode()).digest()
        chunks = await asyncio.to_thread(_chunks, new.text, self.settings.chunking)
        added = await repository.add(connection, place, new, content_hash=content_hash, chunks=chunks)
        if added is not None and by is not None:
            told: JsonObject = {"knowledge_base": place.base_id, "title": new.title, "characters": len(new.text)}
            await audit.record(connection, by, "document.added", added, after=told)
        taken = await repository.with_content(connection, place.base_id, content_hash)
        if taken is None:
            raise LookupError(f"the document just written to {place.base_id} cannot be read back")
        return taken

    async def get(self, identity: Identity, base_name: str, id_: str) -> Document:
        async with self.database.tenant(identity.organization) as connection:
            base = await self.bases.reached(connection, identity, base_name, SEE)
            found = await repository.get(connection, base.id, id_)
        if found is None:
            raise UnknownDocument(base_name, id_)
        return found

    async def page(self, identity: Identity, base_name: str, request: PageRequest) -> Page[Document]:
        after = request.after_text() or ""
        async with self.database.tenant(identity.organization) as connection:
            base = await self.bases.reached(connection, identity, base_name, SEE)
            found = await repository.after(connection, base.id, after, request.limit + 1)
        return request.page(found, lambda document: (document.id,))

    async def delete(self, identity: Identity, base_name: str, id_: str) -> None:
        async with self.database.tenant(identity.organization) as connection:
            base = await self.bases.reached(connection, identity, base_name, CHANGE)
            if not await repository.delete(connection, base.id, id_):
                raise UnknownDocument(base_name, id_)
            await audit.record(connection, identity, "document.deleted", id_, before={"knowledge_base": base.id})

    async def _settled(self, organization: str, base_id: str, document: Document) -> Document:
        """``document`` as it is once it has its vectors, if that takes only a moment."""
        if document.chunks > self.settings.indexing.wait_chunks:
            return document
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.indexing.wait_seconds
        while document.status != "ready" and (left := deadline - loop.time()) > 0:
            await self.indexer.progressed(within=min(left, _LONGEST_WAIT_FOR_PROGRESS))
            async with self.database.tenant(organization) as connection:
                document = await repository.get(connection, base_id, document.id) or document
        return document


def _chunks(text: str, settings: ChunkingSettings) -> list[Chunk]:
    return chunks_of(text, size=settings.size, overlap=settings.overlap)


@asynccontextmanager
async def open_documents(resources: Resources, *, settings: KnowledgeSettings) -> AsyncGenerator[Documents]:
    yield Documents(
        database=resources.get(Database),
        idempotency=resources.get(Idempotency),
        bases=resources.get(Bases),
        indexer=resources.get(Indexer),
        settings=settings,
    )
