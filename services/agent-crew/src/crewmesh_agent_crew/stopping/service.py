"""Stopping work by the key it was asked for under, wherever it is done.

A stop is written down first. Then work in this process is cancelled, which closes its connection to the model, and the
other replicas are told to look. A signal may be lost and work may come after its stop: so replicas also look every few
seconds while they work, and work looks once before it begins.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from crewmesh_contracts.invocations import StopResult
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.stopping.errors import ThinkingStopped
from crewmesh_agent_crew.stopping.repository import Place, StopRepository

_CHANNEL = "stops"
_LOOK_SECONDS = 3.0

log = get_logger(__name__)


class _Work:
    """One piece of work: the task that does it, and whether it was stopped."""

    def __init__(self) -> None:
        self.task = cast("asyncio.Task[object]", asyncio.current_task())
        self.stopped = False

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.task.cancel()


class Stopping:
    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._works: defaultdict[Place, set[_Work]] = defaultdict(set)

    async def stop(self, identity: Identity, key: str) -> StopResult:
        """End what is done under the key, here and elsewhere, now and later."""
        place = (identity.organization, key)
        async with self._database.tenant(identity.organization) as connection:
            await StopRepository(connection).add(place)
        stopped = self._stop_here(place)
        await self._signals.notify(_CHANNEL)
        log.info("asked to stop", key=key, at_work_here=stopped)
        return StopResult(stopped=stopped)

    @asynccontextmanager
    async def stoppable(self, identity: Identity, key: str) -> AsyncGenerator[None]:
        """What happens inside the block ends with ``ThinkingStopped`` as soon as somebody stops the key."""
        place = (identity.organization, key)
        work = _Work()
        self._works[place].add(work)
        try:
            await self._look([place])
            if work.stopped:
                await asyncio.sleep(0)  # where the cancellation arrives
            yield
        except (asyncio.CancelledError, Exception) as error:
            # Cancelled by us and by nobody else: the service may be going down at the same time.
            if work.stopped and work.task.uncancel() == 0:
                raise ThinkingStopped("This work was stopped, and its result is not wanted.") from error
            raise
        finally:
            self._works[place].discard(work)
            if not self._works[place]:
                del self._works[place]

    async def watch(self) -> None:
        """For ever: look whether work that is done here was stopped at another replica."""
        async with self._signals.listen(_CHANNEL) as listener:
            while True:
                await listener.changed(_LOOK_SECONDS)
                try:
                    await self._look(list(self._works))
                except DatabaseUnavailable as problem:
                    log.warning("stops of other replicas are not seen right now", reason=problem.detail)

    async def _look(self, places: list[Place]) -> None:
        if not places:
            return
        async with self._database.system() as connection:
            stopped = await StopRepository(connection).among(places)
        for place in stopped:
            self._stop_here(place)

    def _stop_here(self, place: Place) -> bool:
        works = self._works.get(place, set())
        for work in works:
            work.stop()
        return bool(works)


@asynccontextmanager
async def open_stopping(resources: Resources) -> AsyncGenerator[Stopping]:
    yield Stopping(resources.get(Database), resources.get(Signals))


async def watch_stops(resources: Resources) -> None:
    await resources.get(Stopping).watch()
