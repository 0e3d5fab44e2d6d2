"""Giving chunks their vectors, in the background.

What is left to do is what has no vector: there is no queue that could lose or repeat anything. A batch is claimed,
embedded and written in one transaction; when the process dies, its locks are gone and another replica, or the next
start, goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.db.database import Database
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources

from crewmesh_knowledge.documents import repository
from crewmesh_knowledge.embedding import Embedder
from crewmesh_knowledge.settings import IndexingSettings

_BATCH = 8

log = get_logger(__name__)


class Indexer:
    """One per process; ``wake`` it when chunks were committed."""

    def __init__(self, database: Database, embedder: Embedder, settings: IndexingSettings) -> None:
        self._database = database
        self._embedder = embedder
        self._settings = settings
        self._work = asyncio.Event()
        self._progress = asyncio.Condition()

    def wake(self) -> None:
        self._work.set()

    async def progressed(self, *, within: float) -> None:
        """Returns when another batch is done, or after ``within`` seconds."""
        async with self._progress:
            try:
                await asyncio.wait_for(self._progress.wait(), within)
            except TimeoutError:
                return

    async def run(self) -> None:
        """Works for ever."""
        while True:
            self._work.clear()
            chunks = 0
            while done := await self._index_batch():
                chunks += done
            if chunks:
                log.info("indexed", chunks=chunks)
                await self._embedder.rest()
            await self._woken()

    async def _woken(self) -> None:
        try:
            # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
            async with asyncio.timeout(self._settings.poll_seconds):
                await self._work.wait()
        except TimeoutError:
            return  # what another replica left behind is found without being told

    async def _index_batch(self) -> int:
        async with self._database.system() as connection:
            claimed = await repository.claim_unindexed(connection, _BATCH)
            if claimed:
                vectors = await self._embedder.embed([chunk.text for chunk in claimed])
                await repository.set_vectors(connection, claimed, vectors)
        async with self._progress:
            self._progress.notify_all()
        return len(claimed)


@asynccontextmanager
async def open_indexer(resources: Resources, *, settings: IndexingSettings) -> AsyncGenerator[Indexer]:
    yield Indexer(resources.get(Database), resources.get(Embedder), settings)
