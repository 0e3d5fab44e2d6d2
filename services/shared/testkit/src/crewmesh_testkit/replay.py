"""Replays Dapr orchestrators from histories, without a sidecar: what would they ask for next?

This is the only module that touches the private parts of ``dapr.ext.workflow`` (its vendored durabletask). Its own test
tells when an upgrade moves them.

A history is written as the list of what happened, in order::

    actions = replay(drive_run, start, [Completed("advance", {"kind": "sleep", "seconds": 5}), Fired(5)])
    assert actions == [CallActivity("advance", start)]

Every event says what the orchestrator had asked for when the history was recorded. An orchestrator that now asks for
something else, or in another order, raises ``NonDeterminismError``: such a change breaks runs that are under way.
"""

# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from crewmesh_contracts.base import JsonValue
from dapr.ext.workflow._durabletask import worker
from dapr.ext.workflow._durabletask.internal import helpers, timer
from dapr.ext.workflow._durabletask.internal import protos as pb
from dapr.ext.workflow.dapr_workflow_context import DaprWorkflowContext

_STARTED_AT = datetime(2026, 1, 1)
_INSTANCE = "replayed"


class NonDeterminismError(AssertionError):
    """The orchestrator no longer asks for what the history says it asked for."""


class OrchestrationFailedError(AssertionError):
    """The orchestrator raised."""


@dataclass(frozen=True, slots=True)
class Completed:
    """An activity was called and answered."""

    activity: str
    result: JsonValue = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An activity was called and raised."""

    activity: str
    error: str


@dataclass(frozen=True, slots=True)
class Fired:
    """A timer was set, and the seconds went by. ``event``: it was the end of the time for this event."""

    seconds: float
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """An event was waited for, for so many seconds or for ever, and came with ``data``: that one, or ``other``."""

    event: str
    within: float | None = None
    other: str | None = None
    data: JsonValue = None


@dataclass(frozen=True, slots=True)
class CallActivity:
    """The orchestrator asks for an activity."""

    name: str
    input: JsonValue = None


@dataclass(frozen=True, slots=True)
class CreateTimer:
    """The orchestrator wants to be woken after this long, counted from the last thing that happened.

    ``event``: or when this event comes; then there may be no time (none).
    """

    seconds: float | None
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """The orchestrator is done."""

    result: JsonValue = None


@dataclass(frozen=True, slots=True)
class ContinueAsNew:
    """The orchestrator starts over with this input."""

    input: JsonValue = None


Happened = Completed | Failed | Fired | Raised
Action = CallActivity | CreateTimer | Complete | ContinueAsNew


def replay(
    orchestrator: Callable[..., object], start: JsonValue, history: Sequence[Happened] = (), *, name: str = "replayed"
) -> list[Action]:
    """What the orchestrator asks for after this history."""
    registry = worker._Registry()

    def wrapped(context: object, given: object = None) -> object:
        return orchestrator(DaprWorkflowContext(context), given)  # pyright: ignore[reportArgumentType]

    registry.add_named_orchestrator(name, wrapped)
    now, events = _events(name, start, history)
    executor = worker._OrchestrationExecutor(registry, logging.getLogger(__name__))
    outcome = executor.execute(_INSTANCE, events[:-1], events[-1:])
    return [_action(action, now) for action in outcome.actions]


def _events(name: str, start: JsonValue, history: Sequence[Happened]) -> tuple[datetime, list[pb.HistoryEvent]]:
    now = _STARTED_AT
    events: list[pb.HistoryEvent] = [
        helpers.new_workflow_started_event(now),
        helpers.new_execution_started_event(name, _INSTANCE, json.dumps(start)),
    ]
    for number, happened in enumerate(history, start=1):
        if isinstance(happened, Fired):
            now += timedelta(seconds=happened.seconds)
            origin = None if happened.event is None else pb.TimerOriginExternalEvent(name=happened.event)
            events.append(timer.new_timer_created_event(number, now, origin))
            # Time goes on where a turn begins; that is where orchestrators read it.
            events.append(helpers.new_workflow_started_event(now))
            events.append(timer.new_timer_fired_event(number, now))
        elif isinstance(happened, Raised):
            until = timer.OPTIONAL_TIMER_FIRE_AT
            if happened.within is not None:
                until = now + timedelta(seconds=happened.within)
            origin = pb.TimerOriginExternalEvent(name=happened.event)
            events.append(timer.new_timer_created_event(number, until, origin))
            events.append(helpers.new_workflow_started_event(now))
            events.append(helpers.new_event_raised_event(happened.other or happened.event, json.dumps(happened.data)))
        else:
            events.append(helpers.new_task_scheduled_event(number, happened.activity))
            events.append(_answer(number, happened))
    return now, events


def _answer(number: int, happened: Completed | Failed) -> pb.HistoryEvent:
    if isinstance(happened, Failed):
        return helpers.new_task_failed_event(number, RuntimeError(happened.error))
    return helpers.new_task_completed_event(number, json.dumps(happened.result))


def _action(action: pb.WorkflowAction, now: datetime) -> Action:
    if action.HasField("scheduleTask"):
        return CallActivity(action.scheduleTask.name, _json(action.scheduleTask.input.value))
    if action.HasField("createTimer"):
        return _timer(action.createTimer, now)
    complete = action.completeWorkflow
    if complete.failureDetails.errorType:
        failure = f"{complete.failureDetails.errorType}: {complete.failureDetails.errorMessage}"
        kind = NonDeterminismError if "NonDeterminism" in failure else OrchestrationFailedError
        raise kind(failure)
    result = _json(complete.result.value)
    return (
        ContinueAsNew(result)
        if complete.workflowStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
        else Complete(result)
    )


def _timer(action: pb.CreateTimerAction, now: datetime) -> CreateTimer:
    event = action.externalEvent.name if action.HasField("externalEvent") else None
    if event is not None and action.fireAt == timer.OPTIONAL_TIMER_FIRE_AT:
        return CreateTimer(None, event)
    return CreateTimer((action.fireAt.ToDatetime() - now).total_seconds(), event)


def _json(text: str) -> JsonValue:
    return cast(JsonValue, json.loads(text)) if text else None
