"""What is asked of every organization again and again: read once, remembered for a while, forgotten when it changes.

::

    known = Remembered[Mapping[str, Account]](signals, "accounts:", seconds=10)
    accounts = await known.of(organization, lambda: read(organization))
    known.forget_with(connection, organization)     # in the transaction that changes them

Every replica forgets after the commit. Should the news be lost on the way, ``seconds`` are the limit.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_kit.db.database import after_commit
from crewmesh_kit.signals import Signals

T = TypeVar("T")


class Remembered(Generic[T]):
    def __init__(
        self,
        signals: Signals,
        channel: str,
        *,
        seconds: float,
        most: int = 10_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signals = signals
        self._channel = channel
        self._seconds = seconds
        self._most = most
        self._now = now
        self._known: OrderedDict[str, tuple[float, T]] = OrderedDict()
        # Counts what was forgotten, so that what was being read meanwhile is not remembered.
        self._generation = 0
        signals.watch(channel, self._forget)

    async def of(self, organization: str, read: Callable[[], Awaitable[T]]) -> T:
        known = self._known.get(organization)
        if known is not None and known[0] > self._now():
            return known[1]
        generation, until = self._generation, self._now() + self._seconds
        found = await read()
        if generation == self._generation:
            self._known[organization] = (until, found)
            self._known.move_to_end(organization)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return found

    def forget_with(self, connection: AsyncConnection[DictRow], organization: str) -> None:
        """After this transaction's commit every replica reads anew."""
        after_commit(connection, lambda: self._signals.tell(f"{self._channel}{organization}"))

    def _forget(self, organization: str | None) -> None:
        self._generation += 1
        if organization is None:
            self._known.clear()
        else:
            self._known.pop(organization, None)
