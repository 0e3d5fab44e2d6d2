"""The Dapr workflow that drives a run: advance it, sleep if it must, advance it again, unless it is told to leave.

It knows nothing of nodes, so an upgrade of what they do never meets an old history. It reads no clock and decides only
by what the activity answered.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Protocol, TypeVar

from crewmesh_contracts.base import JsonObject

from crewmesh_workflow.engine.outcome import LEAVE, DriveInput, Sleep, read_outcome

DRIVE_RUN = "drive_run"
ADVANCE = "advance"

# A history is read again at every turn; after this many turns it starts over empty.
TURNS_PER_HISTORY = 50

TaskT = TypeVar("TaskT", covariant=True)


class OrchestrationContext(Protocol[TaskT]):
    """The part of Dapr's workflow context that is used here."""

    def call_activity(self, activity: str, *, input: JsonObject) -> TaskT: ...  # noqa: A002  Dapr's name for it

    def create_timer(self, fire_at: timedelta) -> TaskT: ...

    def wait_for_external_event(self, name: str, *, timeout: timedelta | None) -> TaskT: ...

    def continue_as_new(self, new_input: JsonObject, *, save_events: bool = False) -> None: ...


def drive_run(ctx: OrchestrationContext[TaskT], start: JsonObject) -> Generator[TaskT, object, None]:
    drive = DriveInput.model_validate(start)
    sleep = drive.sleep
    for _ in range(TURNS_PER_HISTORY):
        if sleep is not None and (yield from _asleep(ctx, sleep)) == LEAVE:
            return
        outcome = read_outcome((yield ctx.call_activity(ADVANCE, input=start)))
        if not isinstance(outcome, Sleep):
            return
        sleep = outcome
    ctx.continue_as_new(drive.model_copy(update={"sleep": sleep}).as_json(), save_events=True)


def _asleep(ctx: OrchestrationContext[TaskT], sleep: Sleep) -> Generator[TaskT, object, object]:
    """What came with the event; nothing, when its time came first."""
    seconds = None if sleep.seconds is None else timedelta(seconds=sleep.seconds)
    if sleep.event is None:
        yield ctx.create_timer(seconds or timedelta())
        return None
    try:
        return (yield ctx.wait_for_external_event(sleep.event, timeout=seconds))
    except TimeoutError:
        return None
