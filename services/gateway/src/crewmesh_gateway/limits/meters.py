"""A meter for everybody who is counted: an organization, a key, a login, an address. As many as are worth remembering.

Whoever was quiet for longest is forgotten first. Strangers' addresses have a place of their own, so that a million of
them push out nobody who is known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from crewmesh_gateway.limits.plans import Rate
from crewmesh_gateway.limits.windows import MINUTE, SECOND, Window


class Meter:
    """The requests of one of them, in the last minute and in the last second."""

    __slots__ = ("minute", "second", "untold", "who")

    def __init__(self, who: str) -> None:
        self.who = who
        self.minute = Window(MINUTE)
        self.second = Window(SECOND)
        # Whether it waits to be told to the other replicas.
        self.untold = False

    def is_full(self, rate: Rate, minute: int, second: int) -> bool:
        return self.minute.total(minute) >= rate.per_minute or self.second.total(second) >= rate.per_second

    def add(self, minute: int, second: int) -> None:
        self.minute.add(minute)
        self.second.add(second)

    def windows(self) -> Iterator[Window]:
        yield self.minute
        yield self.second


class Meters:
    def __init__(self, most: int) -> None:
        self._most = most
        self._meters: OrderedDict[str, Meter] = OrderedDict()

    def of(self, who: str) -> Meter:
        meter = self._meters.get(who)
        if meter is not None:
            self._meters.move_to_end(who)
            return meter
        meter = self._meters[who] = Meter(who)
        if len(self._meters) > self._most:
            self._meters.popitem(last=False)
        return meter

    def find(self, who: str) -> Meter | None:
        return self._meters.get(who)

    def __len__(self) -> int:
        return len(self._meters)
