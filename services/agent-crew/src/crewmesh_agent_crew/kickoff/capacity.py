"""A fixed number of places, a bounded queue in front of them, and a refusal that says when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_agent_crew.kickoff.errors import CrewsBusy
from crewmesh_agent_crew.kickoff.metrics import KICKOFFS_RUNNING, KICKOFFS_WAITING


class Capacity:
    def __init__(self, *, places: int, most_waiting: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._most_waiting = most_waiting
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        if self._places.locked() and self._waiting >= self._most_waiting:
            raise CrewsBusy(
                f"All crews are at work and {self._waiting} kickoffs wait already; try again in a few seconds.",
                headers={"Retry-After": "5"},
            )
        await self._queue()
        KICKOFFS_RUNNING.inc()
        try:
            yield
        finally:
            KICKOFFS_RUNNING.dec()
            self._places.release()

    async def _queue(self) -> None:
        self._waiting += 1
        KICKOFFS_WAITING.inc()
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
            KICKOFFS_WAITING.dec()
