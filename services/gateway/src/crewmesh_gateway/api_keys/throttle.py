"""Makes guessing slow: each address (of IPv6: each network) has a bucket of wrong tries that refills slowly.

It spares the database more than it protects the keys, which nobody guesses. In memory and bounded: the address that
has been quiet for longest is forgotten first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from crewmesh_kit.errors import Problem

from crewmesh_gateway.api_keys.errors import TooManyWrongKeys
from crewmesh_gateway.limits.neighbourhoods import neighbourhood
from crewmesh_gateway.settings import ThrottleSettings


class WrongKeyThrottle:
    def __init__(
        self,
        settings: ThrottleSettings,
        *,
        now: Callable[[], float] = time.monotonic,
        refusal: Callable[[float], Problem] = TooManyWrongKeys,
    ) -> None:
        self._settings = settings
        self._refusal = refusal
        self._now = now
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()  # place → tries used up, at what time

    def admit(self, address: str) -> None:
        """Refuse an address whose bucket is empty."""
        excess = self._level(address) - self._settings.burst + 1
        if excess > 0:
            raise self._refusal(excess / self._settings.per_second)

    def failed(self, address: str) -> None:
        """Take one try from the bucket."""
        place = neighbourhood(address)
        self._used[place] = (self._level(address) + 1, self._now())
        self._used.move_to_end(place)
        if len(self._used) > self._settings.addresses:
            self._used.popitem(last=False)

    def _level(self, address: str) -> float:
        used, at = self._used.get(neighbourhood(address), (0.0, 0.0))
        return max(0.0, used - (self._now() - at) * self._settings.per_second)
