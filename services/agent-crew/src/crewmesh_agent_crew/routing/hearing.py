"""Listening to an answer while it is being given: that it has begun, and that an attempt which failed is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_agent_crew.models.calls import TextSink
from crewmesh_agent_crew.providers.protocol import ProviderError


class Hearing:
    """Stands before the sink of a call. ``begun``: when the first word came, by the monotonic clock.

    A piece without text is a sign of life: the answer has begun, with something else than words.
    """

    def __init__(self, sink: TextSink) -> None:
        self._sink = sink
        self.begun: float | None = None
        self._alive = asyncio.Event()

    def add(self, text: str) -> None:
        self._alive.set()
        if not text:
            return
        if self.begun is None:
            self.begun = time.monotonic()
        self._sink.add(text)

    def restart(self) -> None:
        self.begun = None
        self._sink.restart()

    def forget(self) -> None:
        """The attempt failed: what was heard of it is void."""
        if self.begun is not None:
            self.restart()

    @asynccontextmanager
    async def begins_within(self, seconds: float) -> AsyncGenerator[None]:
        """ProviderError when nothing at all was heard for so long."""
        self._alive.clear()
        try:
            async with asyncio.timeout(seconds) as limit:
                lifting = asyncio.create_task(self._lift(limit))
                try:
                    yield
                finally:
                    lifting.cancel()
        except TimeoutError:
            if self._alive.is_set():
                raise
            raise ProviderError("timeout", f"its answer did not begin within {seconds:g} s", tokens_paid=True) from None

    async def _lift(self, limit: asyncio.Timeout) -> None:
        await self._alive.wait()
        limit.reschedule(None)
