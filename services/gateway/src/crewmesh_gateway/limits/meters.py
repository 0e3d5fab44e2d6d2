"""A meter for everybody who is counted: an organization, a key, a login, an address. As many as are worth remembering.

Whoever was quiet for longest is forgotten first. Strangers' addresses have a place of their own, so that a million of
them push out nobody who is known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from crewmesh_gateway.limits.plans import Rate
from crewmesh_gateway.limits.windows import MINUTE, SECOND, Window

# Strangers, and bursts, are told to the other replicas only when that is worth it: from this part of the limit on.
_WORTH_TELLING = 20


class Meter:
    """The requests of one of them, in the last minute and in the last second, and how many there may be."""

    __slots__ = ("limit", "minute", "rate", "second", "untold", "who")

    def __init__(self, who: str, limit: str, rate: Rate) -> None:
        self.who = who
        # organization, person, key, session or address
        self.limit = limit
        self.rate = rate
        self.minute = Window(MINUTE)
        self.second = Window(SECOND)
        # Whether it waits to be told to the other replicas.
        self.untold = False

    def is_full(self, minute: int, second: int) -> bool:
        rate = self.rate
        return self.second.total(second) >= rate.per_second or self.minute.total(minute) >= rate.per_minute

    def add(self, minute: int, second: int) -> None:
        self.minute.add(minute)
        self.second.add(second)

    def left(self, minute: int) -> tuple[int, int]:
        """How many more requests there may be, and for how many seconds there will be no more than these."""
        window = self.minute
        return max(0, self.rate.per_minute - window.total(minute)), window.seconds_unchanged(minute)

    def is_worth_telling(self) -> bool:
        return self.minute.known * _WORTH_TELLING >= self.rate.per_minute or self._bursts()

    def windows_worth_telling(self) -> Iterator[Window]:
        yield self.minute
        if self._bursts():
            yield self.second

    def _bursts(self) -> bool:
        return self.second.known * _WORTH_TELLING >= self.rate.per_second


class Meters:
    def __init__(self, most: int) -> None:
        self._most = most
        self._meters: OrderedDict[str, Meter] = OrderedDict()

    def of(self, who: str, limit: str, rate: Rate) -> Meter:
        """Whoever it is, counted under ``limit``; its rate is the one that its plan has now."""
        meter = self._meters.get(who)
        if meter is not None:
            meter.rate = rate
            self._meters.move_to_end(who)
            return meter
        meter = self._meters[who] = Meter(who, limit, rate)
        if len(self._meters) > self._most:
            self._meters.popitem(last=False)
        return meter

    def find(self, who: str) -> Meter | None:
        return self._meters.get(who)

    def __len__(self) -> int:
        return len(self._meters)
