"""The time that limits are counted in: it only goes forward, and the replicas agree about which bucket it is.

This process counts by its monotonic clock, so nothing that happens to the machine's clock moves a window. Replicas name
the buckets that they tell each other by the clock of Valkey. The difference between the two is taken once, and anew
only when it has become larger than a trembling network explains; what was counted meanwhile stays where it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from crewmesh_gateway.limits.windows import Shape

_TREMBLING_SECONDS = 0.5


class SharedClock:
    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._monotonic = monotonic
        self._base = wall() - monotonic()
        self._ahead: float | None = None

    def now(self) -> float:
        return self._monotonic() + self._base

    def heard(self, everybodys: float, *, at: float) -> None:
        """Valkey's clock said ``everybodys`` when it was ``at`` here."""
        ahead = everybodys - at
        if self._ahead is None or abs(ahead - self._ahead) > _TREMBLING_SECONDS:
            self._ahead = ahead

    def shift(self, shape: Shape) -> int:
        """How many buckets Valkey's clock is ahead of this process."""
        return round((self._ahead or 0.0) * shape.per_second)
