"""Listening to an answer while it is being given: when it began, and that an attempt which failed is forgotten."""

from __future__ import annotations

import time

from crewmesh_agent_crew.models.calls import TextSink


class Hearing:
    """Stands before the sink of a call. ``begun``: when the first word came, by the monotonic clock."""

    def __init__(self, sink: TextSink) -> None:
        self._sink = sink
        self.begun: float | None = None

    def add(self, text: str) -> None:
        if self.begun is None:
            self.begun = time.monotonic()
        self._sink.add(text)

    def restart(self) -> None:
        self._sink.restart()

    def forget(self) -> None:
        """The attempt failed: what was heard of it is void."""
        if self.begun is not None:
            self.begun = None
            self._sink.restart()
