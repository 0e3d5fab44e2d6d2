"""When a run has nothing to do but wait: it is given away with the commit that says so, and somebody sleeps for it.

Waits up to a nap are slept by the worker. For longer ones a driver sleeps, and the row's own ``due_at`` watches over
the driver.
"""

from __future__ import annotations

from dataclasses import replace

from crewmesh_workflow.engine.commits import Commit, JournalEvent, Rest
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.outcome import Sleep, wake_event
from crewmesh_workflow.engine.turn import Turn

# A wait up to this long is slept by the worker; a longer one gives the run away.
LONGEST_NAP_SECONDS = 2.0
# Longer waits have no timer in Dapr, where each would lie until its time even if the run went on long before; the row's
# own due_at wakes the run then.
_LONGEST_TIMER_SECONDS = 600.0
# A driver that sleeps must have woken up this long after its time, or the watchdog takes the run.
_OVERSLEEP_SECONDS = 30.0


def only_waits(execution: Execution, turn: Turn) -> bool:
    """Whether nothing follows from the turn before something arrives or a time is over."""
    ends = turn.end is not None or turn.failing is not None
    under_way = turn.ready or execution.active or execution.unfinished
    return bool(execution.waiting) and not ends and not under_way


def worth_a_driver(seconds: float | None) -> bool:
    """Whether a wait is too long for a nap; none: only something that arrives ends it."""
    return seconds is None or seconds > LONGEST_NAP_SECONDS


def given_away(commit: Commit, seconds: float | None, *, to_new_driver: bool) -> Commit:
    """``commit``, with which the run is given away for so many seconds."""
    timer = _timer(seconds)
    rest = Rest(seconds if timer is None else timer + _OVERSLEEP_SECONDS, to_new_driver=to_new_driver)
    told = JournalEvent("run.waiting", {"seconds": None if seconds is None else round(seconds, 3)})
    return replace(commit, events=[*commit.events, told], rest=rest)


def sleep_of(epoch: int, seconds: float | None) -> Sleep:
    """What the driver of a run does that was given away so."""
    return Sleep(seconds=_timer(seconds), event=wake_event(epoch))


def _timer(seconds: float | None) -> float | None:
    return seconds if seconds is not None and seconds <= _LONGEST_TIMER_SECONDS else None
