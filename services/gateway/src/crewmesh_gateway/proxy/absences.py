"""A service that cannot be reached is waited for, so that a restart is a pause to its callers and no error.

The sidecars ask again for a second, but one of them may know only an address that is gone for as long as it remembers
addresses. So who finds nobody asks again here: one after the other, lest a crowd that waits for one service takes the
connections of all others, and no longer than the service has been away. Repeating is safe, for every mutation that
passes the gateway has an idempotency key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from crewmesh_kit.errors import Unavailable
from prometheus_client import Counter

PAUSE_SECONDS = 0.1

ASKED_AGAIN = Counter(
    "crewmesh_proxy_asked_again_total", "Requests repeated because a service could not be reached.", ("service",)
)


class Absences:
    """``seconds`` is how long a service is waited for, all requests together, since it was first missed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now: dict[str, _Absence] = {}

    async def ask(self, app: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """``attempt`` until it finds the service; it must be one that can be made again when it is ``Unavailable``."""
        absence = self._now.get(app)
        if absence is not None:
            await absence.next_turn()
        while True:
            try:
                return await attempt()
            except Unavailable:
                absence = self._missed(app)
                if not await absence.next_turn():
                    raise
                ASKED_AGAIN.labels(app).inc()

    def found(self, app: str) -> None:
        """The service answered."""
        if self._now and (absence := self._now.pop(app, None)) is not None:
            absence.over.set()

    def _missed(self, app: str) -> _Absence:
        now = asyncio.get_running_loop().time()
        absence = self._now.get(app)
        # Where nobody asked for so long, nobody knows what was in between.
        if absence is None or now > absence.last_missed + self._seconds:
            absence = self._now[app] = _Absence(until=now + self._seconds)
        absence.last_missed = now
        return absence


class _Absence:
    """From the first request that missed a service until one is answered."""

    def __init__(self, *, until: float) -> None:
        self.over = asyncio.Event()
        self.last_missed = 0.0
        self._until = until
        self._turn = asyncio.Lock()

    async def next_turn(self) -> bool:
        """Whether it is worth asking again, when it is this request's turn; at once for all when it is over."""
        try:
            async with asyncio.timeout_at(self._until), self._turn:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS):
                        await self.over.wait()
        except TimeoutError:
            return False
        return True
