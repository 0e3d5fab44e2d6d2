"""The embedded model says what is alike, whatever batch a text is in, and never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from crewmesh_kit.resources import Resources
from crewmesh_knowledge.embedding import DIMENSIONS, Embedder, Vectors, open_embedder
from crewmesh_knowledge.embedding.model import MiniLM
from crewmesh_knowledge.settings import EmbeddingSettings


@pytest.fixture
async def embedder() -> AsyncGenerator[Embedder]:
    async with open_embedder(Resources(), settings=EmbeddingSettings(threads=2, batch=3)) as opened:
        yield opened


async def test_vectors_have_length_one(embedder: Embedder) -> None:
    vectors = await embedder.embed(["A cat sits on the mat.", "x", "学习", "\ufffd" * 5_000])
    assert vectors.shape == (4, DIMENSIONS)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


async def test_the_same_meaning_is_nearer_than_another(embedder: Embedder) -> None:
    cat, kitten, tax = await embedder.embed(
        ["A cat sits on the mat.", "A kitten rests on the rug.", "Tax revenue fell in the last quarter."]
    )
    assert float(cat @ kitten) > 0.5
    assert float(cat @ tax) < 0.2


async def test_a_text_has_the_same_vector_alone_and_among_others(embedder: Embedder) -> None:
    texts = [f"{'word ' * number}number {number}" for number in (30, 1, 12, 4, 50, 2, 8)]
    together = await embedder.embed(texts)
    for text, row in zip(texts, together, strict=True):
        assert float(row @ await embedder.embed_one(text)) == pytest.approx(1.0, abs=1e-3)


async def test_nothing_to_embed_is_no_vectors(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape == (0, DIMENSIONS)


class Watched(MiniLM):
    """Says when it is at work."""

    at_work = False

    def embed(self, texts: list[str]) -> Vectors:
        self.at_work = True
        try:
            return super().embed(texts)
        finally:
            self.at_work = False


async def test_the_event_loop_keeps_turning_while_the_model_works() -> None:
    model = Watched()
    with ThreadPoolExecutor(1) as threads:
        embedder = Embedder(model, threads, batch=3)

        async def work() -> None:
            while True:
                await embedder.embed(["word " * 300] * 6)
                await asyncio.sleep(0)

        working = asyncio.create_task(work())
        turns = 0
        try:
            async with asyncio.timeout(60):
                while turns <= 10:
                    await asyncio.sleep(0.005)
                    turns += model.at_work
        finally:
            working.cancel()
