"""What failed a moment ago is left alone for a while, so that it neither fills the log nor holds up the rest."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 10.0


class Setbacks:
    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until: dict[str, float] = {}

    def note(self, what: str) -> None:
        self._until[what] = self._now() + _SECONDS

    def current(self) -> list[str]:
        """What is to be left alone now."""
        self._until = {what: until for what, until in self._until.items() if until > self._now()}
        return list(self._until)
