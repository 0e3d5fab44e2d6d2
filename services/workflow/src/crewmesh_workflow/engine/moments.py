"""What time brings to a run in hand: the ends of its waits and pauses, and its deadline. By this process's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import replace

from crewmesh_workflow.engine.steps import Step
from crewmesh_workflow.engine.turn import Ready

_NEVER = float("inf")


class Moments:
    def __init__(self, left: float | None) -> None:
        """``left``: seconds until the run's deadline, if it has one."""
        self._deadline = None if left is None else time.monotonic() + left
        self._until: dict[str, float] = {}
        self._later: dict[str, tuple[float, Ready]] = {}

    def note(self, step: Step) -> None:
        """The step now is so: it waits, or does so no more."""
        if step.status != "waiting" or step.wait is None:
            self._until.pop(step.path, None)
        elif step.path not in self._until:
            seconds = step.wait.seconds
            self._until[step.path] = _NEVER if seconds is None else time.monotonic() + seconds

    def put_off(self, ready: Ready, seconds: float) -> None:
        self._later[ready.step.path] = (time.monotonic() + seconds, ready)

    def forget(self, path: str) -> None:
        self._later.pop(path, None)

    def take(self, is_unwanted: Callable[[str], bool]) -> list[Ready]:
        """What was put off and is not wanted any more, before its time."""
        return [self._later.pop(path)[1] for path in [*self._later] if is_unwanted(path)]

    def take_due(self) -> list[Ready]:
        """What was put off until now."""
        now = time.monotonic()
        due = [path for path, (at, _) in self._later.items() if at <= now]
        taken = [self._later.pop(path)[1] for path in due]
        return [replace(ready, step=replace(ready.step, retry_in=None)) for ready in taken]

    def overdue(self, waiting: Container[str]) -> list[str]:
        """Those of the ``waiting`` whose time is over."""
        now = time.monotonic()
        return [path for path, at in self._until.items() if at <= now and path in waiting]

    def is_past_deadline(self) -> bool:
        """Told once."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        self._deadline = None
        return True

    def seconds_left(self) -> float | None:
        """Until the next of all that; nothing when time brings nothing."""
        times = [*self._until.values(), *(at for at, _ in self._later.values())]
        if self._deadline is not None:
            times.append(self._deadline)
        earliest = min(times, default=_NEVER)
        return None if earliest == _NEVER else max(earliest - time.monotonic(), 0.0)
