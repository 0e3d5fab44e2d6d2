"""Following a run: everything that happened after a number, then whatever happens, until the run has ended.

It reads the journal's sequence, so a client that comes back with the last number it saw, to any replica, days later,
misses nothing and is told nothing twice. What is new is read once for all who follow the same run; whether somebody may
see it is asked again from time to time.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals

from crewmesh_workflow.runs.errors import UnknownRun
from crewmesh_workflow.runs.feeds import Feed, Feeds
from crewmesh_workflow.runs.schemas import StoredEvent
from crewmesh_workflow.runs.service import Runs
from crewmesh_workflow.settings import StreamSettings

_LAST = frozenset({"run.completed", "run.failed", "run.cancelled"})
# Who may not see a run any more is told no more of it after this time.
_ASK_AGAIN_SECONDS = 5.0


class Streams:
    def __init__(self, runs: Runs, signals: Signals, settings: StreamSettings) -> None:
        self._runs = runs
        self._batch = settings.batch
        self._feeds = Feeds(runs.news, signals, batch=settings.batch, poll_seconds=settings.poll_seconds)

    async def follow(self, identity: Identity, run: str, after: int) -> AsyncIterator[StoredEvent]:
        try:
            async with self._feeds.joined(identity.organization, run, after=after) as feed:
                async for event in self._events(identity, run, after, feed):
                    yield event
                    if event.type in _LAST:
                        return
        except UnknownRun:
            return  # it is hidden or forgotten by now; whoever comes back is told so

    async def _events(self, identity: Identity, run: str, after: int, feed: Feed) -> AsyncIterator[StoredEvent]:
        asked_at = -_ASK_AGAIN_SECONDS
        while True:
            events: list[StoredEvent] | None = None
            if time.monotonic() - asked_at < _ASK_AGAIN_SECONDS:
                events = await feed.after(after, timeout=_ASK_AGAIN_SECONDS)
            if events is None:
                events = await self._runs.events(identity, run, after, self._batch)
                asked_at = time.monotonic()
            for event in events:
                yield event
                after = event.seq


@asynccontextmanager
async def open_streams(resources: Resources, *, settings: StreamSettings) -> AsyncGenerator[Streams]:
    yield Streams(resources.get(Runs), resources.get(Signals), settings)
