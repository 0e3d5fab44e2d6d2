"""One turn of a run: what just happened and what the plan decides from there, as one commit."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from pydantic_core import to_json

from crewmesh_workflow.engine.journal import Commit, EventType, JournalEvent, JournalStep
from crewmesh_workflow.engine.plan import Effect, Failed, Finished, Step, plan
from crewmesh_workflow.engine.program import Program

# A step's output goes out with its event when it is small; the whole is at /v1/runs/{run}/steps.
_SMALL_OUTPUT_BYTES = 4 * 1024


@dataclass(frozen=True, slots=True)
class Turn:
    commit: Commit
    next: Effect | Finished | Failed


def take_turn(program: Program, trigger: JsonObject, steps: dict[str, Step], happened: tuple[Step, ...] = ()) -> Turn:
    """Add what ``happened`` and what follows from it to ``steps``, and give the commit that says so."""
    steps.update({step.node: step for step in happened})
    planned = plan(program, trigger, steps)
    steps.update({step.node: step for step in planned.decided})
    changed = [*happened, *planned.decided]
    if isinstance(planned.next, Effect) and planned.next.step.node not in steps:
        steps[planned.next.step.node] = planned.next.step
        changed.append(planned.next.step)
    events = [step_event(program, step) for step in changed]
    end = None if isinstance(planned.next, Effect) else planned.next
    if end is not None:
        events.append(_end_event(end))
    return Turn(Commit([journalled(program, step) for step in changed], events, end), planned.next)


def journalled(program: Program, step: Step) -> JournalStep:
    return JournalStep(step, program.position(step.node))


def step_event(program: Program, step: Step) -> JournalEvent:
    """What is told about a step that now is as it is."""
    data: JsonObject = {"node": step.node, "kind": program.by_id[step.node].node.kind}
    if step.status == "running":
        data["attempt"] = step.attempt
        if step.retry_in is None:
            return JournalEvent("step.started", data)
        return JournalEvent("step.retrying", {**data, **_failure(step), "wait_seconds": round(step.retry_in, 3)})
    if step.status == "completed":
        data |= {"attempt": step.attempt, "port": step.port}
        if step.output is not None and len(to_json(step.output)) <= _SMALL_OUTPUT_BYTES:
            data["output"] = step.output
    if step.status == "failed":
        data |= {"attempt": step.attempt, **_failure(step)}
    return JournalEvent(_TYPES[step.status], data)


_TYPES: dict[str, EventType] = {
    "completed": "step.completed",
    "skipped": "step.skipped",
    "failed": "step.failed",
}


def _failure(step: Step) -> JsonObject:
    return {} if step.error is None else {"error": {"type": step.error.type, "detail": step.error.detail}}


def _end_event(end: Finished | Failed) -> JournalEvent:
    if isinstance(end, Finished):
        small = len(to_json(end.output)) <= _SMALL_OUTPUT_BYTES
        return JournalEvent("run.completed", {"output": end.output} if small else {})
    return JournalEvent("run.failed", {"node": end.node, "error": {"type": end.error.type, "detail": end.error.detail}})
