"""Following a run: everything that happened after a number, then whatever happens, until the run has ended.

It reads the journal's sequence, so a client that comes back with the last number it saw, to any replica, days later,
misses nothing and is told nothing twice. What is new is read and written down once for all who follow the same run, and
what happened together is sent together; whether somebody may see the run is asked again from time to time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from crewmesh_kit.errors import Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals

from crewmesh_workflow.runs.errors import UnknownRun
from crewmesh_workflow.runs.feeds import Feed, Feeds
from crewmesh_workflow.runs.lines import Line
from crewmesh_workflow.runs.service import Runs
from crewmesh_workflow.settings import StreamSettings

# Who may not see a run any more is told no more of it after this time, not all asking at once.
_ASK_AGAIN_SECONDS = 5.0
_PAUSE_SECONDS = 0.5

log = get_logger(__name__)


class Streams:
    def __init__(self, runs: Runs, signals: Signals, settings: StreamSettings) -> None:
        self._runs = runs
        self._batch = settings.batch
        self._feeds = Feeds(self._news, signals, batch=settings.batch, poll_seconds=settings.poll_seconds)

    async def follow(self, identity: Identity, run: str, after: int) -> AsyncIterator[bytes]:
        """What to send, as it comes."""
        try:
            async with self._feeds.joined(identity.organization, run, after=after) as feed:
                async for lines in self._lines(identity, run, after, feed):
                    yield b"".join(line.text for line in lines)
                    if lines[-1].ends:
                        return
        except UnknownRun:
            return  # it is hidden or forgotten by now; whoever comes back is told so

    async def _lines(self, identity: Identity, run: str, after: int, feed: Feed) -> AsyncIterator[list[Line]]:
        ask_at = 0.0
        while True:
            lines: list[Line] | None = None
            if (left := ask_at - time.monotonic()) > 0:
                lines = await feed.after(after, timeout=left)
            if lines is None or left <= 0:
                lines = await self._seen_by(identity, run, after)
                ask_at = time.monotonic() + _ASK_AGAIN_SECONDS * random.uniform(0.5, 1.0)
            if lines:
                after = lines[-1].seq
                yield lines

    async def _seen_by(self, identity: Identity, run: str, after: int) -> list[Line]:
        try:
            events = await self._runs.events(identity, run, after, self._batch)
        except Problem as problem:
            if not problem.retryable:
                raise
            log.info("a follower asks again later", run=run, reason=problem.detail)
            await asyncio.sleep(_PAUSE_SECONDS)
            return []
        return [Line.of(run, event) for event in events]

    async def _news(self, organization: str, run: str, after: int, limit: int) -> list[Line]:
        return [Line.of(run, event) for event in await self._runs.news(organization, run, after, limit)]


@asynccontextmanager
async def open_streams(resources: Resources, *, settings: StreamSettings) -> AsyncGenerator[Streams]:
    yield Streams(resources.get(Runs), resources.get(Signals), settings)
