"""What happens in a run, read once for all who follow it in this replica.

A feed lives as long as somebody follows its run. It keeps the latest events; who has seen less than that has to read
for itself. Whether somebody may see a run is not its business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals

from crewmesh_workflow.runs.lines import Line

_KEPT = 1_000

# The events of (organization, run) after a number, at most so many.
Read = Callable[[str, str, int, int], Awaitable[list[Line]]]

log = get_logger(__name__)


class Feed:
    def __init__(self, after: int) -> None:
        self._first = self._last = after  # what is kept begins behind the first
        self._events: deque[Line] = deque()
        self._changed = asyncio.Event()
        self.followers = 0

    @property
    def last(self) -> int:
        return self._last

    def add(self, events: list[Line]) -> None:
        self._events.extend(events)
        self._last = events[-1].seq
        while len(self._events) > _KEPT:
            self._first = self._events.popleft().seq
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, seq: int, *, timeout: float) -> list[Line] | None:
        """What followed event ``seq``; nothing new within ``timeout``: an empty list; none: that is not kept."""
        if seq >= self._last:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
        if seq < self._first:
            return None
        return [event for event in self._events if event.seq > seq]


class Feeds:
    def __init__(self, read: Read, signals: Signals, *, batch: int, poll_seconds: float) -> None:
        self._read = read
        self._signals = signals
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._feeds: dict[tuple[str, str], tuple[Feed, asyncio.Task[None]]] = {}

    @asynccontextmanager
    async def joined(self, organization: str, run: str, *, after: int) -> AsyncGenerator[Feed]:
        """The feed of the run. Where there is none yet, it begins behind event ``after``."""
        place = (organization, run)
        if place not in self._feeds:
            feed = Feed(after)
            self._feeds[place] = feed, asyncio.create_task(self._keep_reading(feed, *place), name=f"feed of {run}")
        feed, reading = self._feeds[place]
        feed.followers += 1
        try:
            yield feed
        finally:
            feed.followers -= 1
            if feed.followers == 0:
                del self._feeds[place]
                reading.cancel()

    async def _keep_reading(self, feed: Feed, organization: str, run: str) -> None:
        # Listening starts before the first look, so that nothing can slip in between.
        async with self._signals.listen(run) as listener:
            # Before Python 3.12 the pool may swallow the cancellation together with a connection that it hands out.
            while feed.followers:
                try:
                    events = await self._read(organization, run, feed.last, self._batch)
                except Problem as problem:
                    log.info("a run cannot be followed right now", run=run, reason=problem.detail)
                    events = []
                if events:
                    feed.add(events)
                if len(events) < self._batch:
                    await listener.changed(self._poll_seconds)
