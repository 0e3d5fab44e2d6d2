"""Following a run: everything that happened after a number, then whatever happens, until the run has ended.

It reads the journal's sequence, so a client that comes back with the last number it saw, to any replica, days later,
misses nothing and is told nothing twice. Signals only say that looking is worth while; without them it looks anyway.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals

from crewmesh_workflow.runs.schemas import StoredEvent
from crewmesh_workflow.runs.service import Runs
from crewmesh_workflow.settings import StreamSettings

_LAST = frozenset({"run.completed", "run.failed", "run.cancelled"})


class Streams:
    def __init__(self, runs: Runs, signals: Signals, settings: StreamSettings) -> None:
        self._runs = runs
        self._signals = signals
        self._settings = settings

    async def follow(self, identity: Identity, run: str, after: int) -> AsyncIterator[StoredEvent]:
        # Listening starts before the first look, so that nothing can slip in between.
        async with self._signals.listen(run) as listener:
            while True:
                events = await self._runs.events(identity, run, after, self._settings.batch)
                for event in events:
                    yield event
                    after = event.seq
                    if event.type in _LAST:
                        return
                if len(events) < self._settings.batch:
                    await listener.changed(self._settings.poll_seconds)


@asynccontextmanager
async def open_streams(resources: Resources, *, settings: StreamSettings) -> AsyncGenerator[Streams]:
    yield Streams(resources.get(Runs), resources.get(Signals), settings)
