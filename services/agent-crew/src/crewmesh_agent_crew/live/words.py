"""The words of answers while they are being given, for whoever watches, at whichever replica.

::

    sink = words.sink(organization, crew_run, answer)    # whoever gives the answer
    sink.add("Hel"); sink.add("lo"); sink.done()

    async for found in words.follow(organization, crew_run, after=None):    # whoever watches: all, then what comes
        ...

One Redis stream per piece of work holds them for a while. Watching may have gaps when Redis is away; the work goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.signals import cancelled

from crewmesh_agent_crew.live.reading import Reader
from crewmesh_agent_crew.live.streams import connected
from crewmesh_agent_crew.live.word import Word
from crewmesh_agent_crew.live.writing import Sink, Writer

__all__ = ["Sink", "Word", "Words", "open_words"]


class Words:
    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncGenerator[Self]:
        async with connected(url) as client:
            writer, reader = Writer(client), Reader(client)
            loops = (writer.keep_writing(), reader.keep_reading(), reader.keep_ringing())
            tasks = [asyncio.create_task(loop) for loop in loops]
            try:
                yield cls(writer, reader)
            finally:
                await cancelled(tasks)

    def sink(self, organization: str, work: str, answer: str) -> Sink:
        """Where the words of ``answer``, which is a part of ``work``, go. Never waits, never fails."""
        return self._writer.sink(organization, work, answer)

    async def said(self, organization: str, work: str) -> str:
        """What the latest part of the work said so far; as far as it is known here."""
        return await self._reader.said(organization, work)

    def follow(self, organization: str, work: str, after: str | None = None) -> AsyncGenerator[list[Word]]:
        """What was said behind the id ``after``, then what is said, without an end. Close it when enough was seen.

        Whether somebody may watch the work is for the caller to ask.
        """
        return self._reader.follow(organization, work, after)


@asynccontextmanager
async def open_words(resources: Resources) -> AsyncGenerator[Words]:
    async with Words.open(await resources.get(Sidecar).secret("redis-url")) as words:
        yield words
