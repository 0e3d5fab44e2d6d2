"""Indexing loses nothing: what a dead process left behind is found, and two that work at a time do not meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest
from crewmesh_contracts.invocations import SearchRequest
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.ids import new_id
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import cancelled
from crewmesh_knowledge.bases.schemas import NewKnowledgeBase
from crewmesh_knowledge.bases.service import Bases
from crewmesh_knowledge.documents.indexing import Indexer
from crewmesh_knowledge.documents.schemas import Document, NewDocument
from crewmesh_knowledge.documents.service import Documents
from crewmesh_knowledge.embedding import Embedder, Vectors, open_embedder
from crewmesh_knowledge.main import MIGRATIONS
from crewmesh_knowledge.search.service import Search
from crewmesh_knowledge.settings import EmbeddingSettings, IndexingSettings, KnowledgeSettings
from crewmesh_testkit.identities import identity
from crewmesh_testkit.sharing import sharing_of

TEXT = "\n\n".join(f"Rule {number} of the house says: {'be kind, ' * 40}and bring cake." for number in range(20))
SETTINGS = KnowledgeSettings(indexing=IndexingSettings(poll_seconds=0.05, wait_seconds=0))


class Dying(Embedder):
    """An embedder whose process dies in its second batch."""

    def __init__(self, healthy: Embedder) -> None:
        self._healthy = healthy
        self._batches = 0

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self._batches += 1
        if self._batches > 1:
            raise SystemError("killed")
        return await self._healthy.embed(texts)


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncGenerator[Database]:
    url = database_url("knowledge")
    await migrate(url, app_id="knowledge", migrations=MIGRATIONS)
    async with Database.open(url, app_id="knowledge") as opened:
        yield opened


@pytest.fixture
async def embedder() -> AsyncGenerator[Embedder]:
    async with open_embedder(Resources(), settings=EmbeddingSettings()) as opened:
        yield opened


class House:
    """An organization with one document, and nobody who indexes it."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        idempotency = Idempotency(database)
        self.me = identity("*", organization=new_id("org"))
        self.bases = Bases(database, idempotency, sharing_of(database, idempotency))
        self.documents = Documents(
            database=database,
            idempotency=idempotency,
            bases=self.bases,
            indexer=Indexer(database, embedder, SETTINGS.indexing),
            settings=SETTINGS,
        )
        self.search = Search(database, embedder, self.bases)

    async def furnish(self) -> Document:
        await self.bases.create(self.me, NewKnowledgeBase(name="house"), key=None)
        return await self.documents.add(self.me, "house", NewDocument(title="Rules", text=TEXT), key=None)

    async def ready(self, document: Document) -> Document:
        deadline = time.monotonic() + 300
        while (now := await self.documents.get(self.me, "house", document.id)).status != "ready":
            assert time.monotonic() < deadline, now
            await asyncio.sleep(0.02)
        return now


async def test_a_document_is_found_by_its_words_before_it_has_vectors(database: Database, embedder: Embedder) -> None:
    house = House(database, embedder)
    document = await house.furnish()
    assert (document.status, document.indexed_chunks) == ("indexing", 0)
    result = await house.search.search(house.me, SearchRequest(knowledge_base="house", query="rule 7"))
    assert "Rule 7 " in result.hits[0].text


async def test_what_a_dead_process_left_is_finished_by_the_next(database: Database, embedder: Embedder) -> None:
    house = House(database, embedder)
    document = await house.furnish()
    with pytest.raises(SystemError):
        await Indexer(database, Dying(embedder), SETTINGS.indexing).run()
    halfway = await house.documents.get(house.me, "house", document.id)
    assert 0 < halfway.indexed_chunks < halfway.chunks

    next_ = asyncio.create_task(Indexer(database, embedder, SETTINGS.indexing).run())
    try:
        assert (await house.ready(document)).indexed_chunks == document.chunks
    finally:
        await cancelled([next_])


async def test_two_replicas_share_the_work(database: Database, embedder: Embedder) -> None:
    house = House(database, embedder)
    document = await house.furnish()
    replicas = [asyncio.create_task(Indexer(database, embedder, SETTINGS.indexing).run()) for _ in range(2)]
    try:
        await house.ready(document)
        assert not any(replica.done() for replica in replicas)
    finally:
        await cancelled(replicas)
