"""Time for limits that passes when a test says so: what is asked within a second is, however slow the machine."""

from __future__ import annotations

from crewmesh_gateway.limits.clock import SharedClock


class Clock:
    """Time that passes when the test says so, and a machine's clock that shows what it likes."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self.monotonic = monotonic
        self.wall = wall

    def shared(self) -> SharedClock:
        return SharedClock(monotonic=lambda: self.monotonic, wall=lambda: self.wall)

    def agreed(self) -> SharedClock:
        """As if Valkey's time passed with the test's."""
        return _Agreed(monotonic=lambda: self.monotonic, wall=lambda: self.wall)


class _Agreed(SharedClock):
    def heard(self, everybodys: float, *, at: float) -> None:
        pass
