"""A turn of an execution as the commit that journals it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from crewmesh_contracts.base import JsonObject
from pydantic_core import to_json

from crewmesh_workflow.engine.commits import Commit, EventType, JournalEvent
from crewmesh_workflow.engine.places import kind_at
from crewmesh_workflow.engine.records import wait_id
from crewmesh_workflow.engine.steps import Cancelled, End, Failed, Finished, Step
from crewmesh_workflow.engine.turn import Turn
from crewmesh_workflow.program.model import Program

# A step's output goes out with its event when it is small; the whole is at /v1/runs/{run}/steps.
_SMALL_OUTPUT_BYTES = 4 * 1024
_MOST_AWAITED = 20


def name_waits(turn: Turn, steps: dict[str, Step]) -> None:
    """Give every new wait its id."""
    for path, step in turn.changed.items():
        if step.wait is not None and step.wait_id is None:
            steps[path] = turn.changed[path] = replace(step, wait_id=wait_id(step.wait.kind))


def commit_of(program: Program, turn: Turn) -> Commit:
    changed = list(turn.changed.values())
    before = [step for step in changed if step.path in turn.before_failing]
    behind = [step for step in changed if step.path not in turn.before_failing]
    events = _told(program, before, turn.said)
    if turn.failing is not None and turn.end is None:
        events.append(_failing_event(turn.failing, turn.awaited))
    events += _told(program, behind, turn.said)
    if turn.end is not None:
        events.append(_end_event(turn.end))
    return Commit(
        steps=changed,
        events=events,
        emitted=turn.emitted,
        closed=turn.closed,
        response=turn.response,
        failing=turn.failing,
        end=turn.end,
    )


def _told(program: Program, steps: Sequence[Step], said: Mapping[str, JsonObject]) -> list[JournalEvent]:
    return [step_event(program, step, said.get(step.path)) for step in steps if not _is_silent(step)]


def _is_silent(step: Step) -> bool:
    """Another round of a loop: the steps in it tell enough."""
    return step.status == "running" and step.rounds > 0 and step.retry_in is None and step.input is None


def step_event(program: Program, step: Step, said: JsonObject | None) -> JournalEvent:
    """What is told about a step that now is as it is; ``said``: because a person said so."""
    data: JsonObject = {"node": step.path, "kind": kind_at(program, step.path)}
    if said is not None:
        data["said"] = said
    if step.status == "running":
        data["attempt"] = step.attempt
        if step.retry_in is None:
            return JournalEvent("step.started", data)
        return JournalEvent("step.retrying", {**data, **_failure(step), "wait_seconds": round(step.retry_in, 3)})
    if step.status == "waiting" and step.wait is not None:
        seconds = None if step.wait.seconds is None else round(step.wait.seconds, 3)
        waits: JsonObject = {"waits_for": step.wait.kind, "wait": step.wait_id, "seconds": seconds}
        return JournalEvent("step.waiting", data | waits)
    if step.status == "completed":
        data |= {"attempt": step.attempt, "port": ",".join(step.ports)} | _failure(step)
        if step.output is not None and len(to_json(step.output)) <= _SMALL_OUTPUT_BYTES:
            data["output"] = step.output
    if step.status == "failed":
        data |= {"attempt": step.attempt, **_failure(step)}
    return JournalEvent(_TYPES[step.status], data)


_TYPES: dict[str, EventType] = {
    "completed": "step.completed",
    "skipped": "step.skipped",
    "failed": "step.failed",
    "cancelled": "step.cancelled",
}


def _failure(step: Step) -> JsonObject:
    return {} if step.error is None else {"error": step.error.as_json()}


def _failing_event(failing: Failed | Cancelled, awaited: Sequence[str]) -> JournalEvent:
    waits: JsonObject = {"waits_for": [*awaited[:_MOST_AWAITED]]} if awaited else {}
    if isinstance(failing, Cancelled):
        return JournalEvent("run.cancelling", waits)
    return JournalEvent("run.failing", {"node": failing.path, "error": failing.error.as_json(), **waits})


def _end_event(end: End) -> JournalEvent:
    if isinstance(end, Finished):
        small = len(to_json(end.output)) <= _SMALL_OUTPUT_BYTES
        return JournalEvent("run.completed", {"output": end.output} if small else {})
    if isinstance(end, Cancelled):
        return JournalEvent("run.cancelled", {})
    return JournalEvent("run.failed", {"node": end.path, "error": end.error.as_json()})
