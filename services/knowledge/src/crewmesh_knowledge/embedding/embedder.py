"""The model behind a few threads, so that the event loop never waits for arithmetic.

Texts go through in small batches, each its own job: a search question that arrives while a long document is being
indexed waits for one batch at most, and not for the document.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from crewmesh_kit.resources import Resources

from crewmesh_knowledge.embedding.model import DIMENSIONS, MiniLM, Vectors, release_memory
from crewmesh_knowledge.settings import EmbeddingSettings


class Embedder:
    """Vectors for texts. Open it with ``open_embedder``."""

    def __init__(self, model: MiniLM, threads: ThreadPoolExecutor, *, batch: int) -> None:
        self._model = model
        self._threads = threads
        self._batch = batch

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row per text, in the order given."""
        rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        # Texts of like length share a batch, for every text of a batch costs as much as its longest.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for first in range(0, len(order), self._batch):
            chosen = order[first : first + self._batch]
            rows[chosen] = await self._in_thread([texts[index] for index in chosen])
        return rows

    async def embed_one(self, text: str) -> Vectors:
        return (await self.embed([text]))[0]

    async def rest(self) -> None:
        """Called after a long piece of work: hand the memory it needed back."""
        await asyncio.get_running_loop().run_in_executor(self._threads, release_memory)

    async def _in_thread(self, texts: list[str]) -> Vectors:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._model.embed, texts)


@asynccontextmanager
async def open_embedder(_: Resources, *, settings: EmbeddingSettings) -> AsyncGenerator[Embedder]:
    """Loads the model before the service is ready, so that no request pays for it."""
    threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="embedding")
    try:
        model = await asyncio.get_running_loop().run_in_executor(threads, MiniLM)
        yield Embedder(model, threads, batch=settings.batch)
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
