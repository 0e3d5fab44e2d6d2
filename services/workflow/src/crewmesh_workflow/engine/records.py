"""Commits as the rows that the journal's statements take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import (
    EVENTS_TOPIC,
    CloudEvent,
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
)
from crewmesh_kit.dapr.traces import traced
from crewmesh_kit.db.outbox import cloud_event
from crewmesh_kit.ids import new_id
from pydantic_core import to_json

from crewmesh_workflow.engine.commits import Commit, Run
from crewmesh_workflow.engine.payloads import Payloads
from crewmesh_workflow.engine.steps import Cancelled, End, Failed, Finished, Step, StepError
from crewmesh_workflow.nodes.base import Emitted

APP_ID = "workflow"
# Far more than any model's usage takes, as far as it is one.
_MOST_USAGE_BYTES = 1_000
Tables = dict[str, list[JsonObject]]
_STATUS: dict[type[Finished | Failed | Cancelled], str] = {
    Finished: "completed",
    Failed: "failed",
    Cancelled: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Record:
    """The rows of one commit by the name of the parameter that takes them; ``run`` is the run's own row."""

    run: JsonObject
    tables: Tables
    outside: bool


async def record(run: Run, commit: Commit, payloads: Payloads, *, keep_days: int, starting: bool = False) -> Record:
    tables: Tables = {"steps": [], "events": [], "outbox": [], "waits": [], "closed": []}
    for step in commit.steps:
        tables["steps"].append(await _step(run, step, payloads, new=starting))
        if step.wait is not None and step.wait_id is not None:
            tables["waits"].append(_wait(run, step))
    for number, event in enumerate(commit.events, start=1):
        tables["events"].append({"run": run.id, "n": number, "type": event.type, "data": event.data})
    tables["closed"] = [{"run": run.id, "path": path} for path in commit.closed]
    tables["outbox"] = [_emitted(run, emitted) for emitted in commit.emitted]
    if starting:
        tables["outbox"].append(_told(run, RunStarted.model_validate(_about(run))))
    row = await _ending(run, commit.end, payloads)
    if commit.end is not None:
        tables["outbox"].append(_told(run, _end_event(run, commit.end, row)))
    row |= {
        "over": commit.end is not None,
        "keep_days": None if commit.end is None else keep_days,
        "response": commit.response,
        "failure": _failure(commit.failing),
    }
    outside = commit.end is not None or any(tables[name] for name in ("outbox", "waits", "closed"))
    return Record(row, tables, outside)


def merged(records: Sequence[Record]) -> dict[str, str]:
    """The parameters for all of them together."""
    tables: Tables = defaultdict(list)
    for each in records:
        for name, rows in each.tables.items():
            tables[name] += rows
    return {name: to_json(rows).decode() for name, rows in tables.items()}


def stored_failure(failure: JsonObject | None) -> Failed | Cancelled | None:
    """What ``failure`` in a run's row says."""
    if failure is None:
        return None
    if failure.get("cancelled") is True:
        return Cancelled()
    node = failure.get("node")
    error = StepError(str(failure.get("type")), str(failure.get("detail")))
    return Failed(node if isinstance(node, str) else None, error)


async def _step(run: Run, step: Step, payloads: Payloads, *, new: bool) -> JsonObject:
    """``new``: the journal holds nothing of the step yet, not even its input."""
    row: JsonObject = {"run": run.id, "path": step.path, "number": step.number, "status": step.status}
    row |= {"attempt": step.attempt, "port": ",".join(step.ports) or None, "retry_in": step.retry_in}
    row |= {"rounds": step.rounds, "finished": step.finished}
    if step.input is not None and (new or step.finished is None):
        row["input"] = await payloads.stow(step.input)
    if step.output is not None:
        row["output"] = await _stowed_output(step.output, payloads)
    if step.error is not None:
        row["error"] = step.error.as_json()
    return row


async def _stowed_output(output: JsonObject, payloads: Payloads) -> JsonObject:
    """What models used stays with the reference, for that is added up in the database."""
    stowed, usage = await payloads.stow(output), output.get("usage")
    if stowed is output or not isinstance(usage, dict) or len(to_json(usage)) > _MOST_USAGE_BYTES:
        return stowed
    return {**stowed, "usage": usage}


def _wait(run: Run, step: Step) -> JsonObject:
    wait = step.wait
    if wait is None:
        raise ValueError(f"step {step.path} does not wait")
    return {
        "run": run.id,
        "path": step.path,
        "id": step.wait_id,
        "kind": wait.kind,
        "request": wait.request,
        "event_type": wait.event_type,
        "event_key": wait.event_key,
        "seconds": wait.seconds,
        "escalate_in": wait.escalate_seconds,
    }


async def _ending(run: Run, end: End | None, payloads: Payloads) -> JsonObject:
    row: JsonObject = {"run": run.id, "status": "running" if end is None else _STATUS[type(end)]}
    row |= {"output": None, "error": None}
    if isinstance(end, Finished):
        row["output"] = await payloads.stow(end.output)
    elif isinstance(end, Failed):
        row["error"] = {"node": end.path, **end.error.as_json()}
    return row


def _failure(failing: Failed | Cancelled | None) -> JsonValue:
    if failing is None:
        return None
    if isinstance(failing, Cancelled):
        return {"cancelled": True}
    return {"node": failing.path, **failing.error.as_json()}


def _end_event(run: Run, end: End, row: JsonObject) -> Event:
    if isinstance(end, Finished):
        return RunCompleted.model_validate({**_about(run), "output": row["output"]})
    if isinstance(end, Failed):
        return RunFailed.model_validate({**_about(run), "node": end.path, "error": end.error.detail})
    return RunCancelled.model_validate(_about(run))


def _told(run: Run, event: Event) -> JsonObject:
    envelope = traced(cloud_event(event, app_id=APP_ID))
    return {"run": run.id, "topic": event.topic, "event": envelope.model_dump_json(exclude_none=True)}


def _emitted(run: Run, emitted: Emitted) -> JsonObject:
    event = CloudEvent(
        id=emitted.id,
        source=f"crewmesh/{APP_ID}/{run.workflow}",
        type=emitted.type,
        subject=emitted.subject,
        data=emitted.data,
        crewmeshorg=run.organization,
    )
    return {"run": run.id, "topic": EVENTS_TOPIC, "event": traced(event).model_dump_json(exclude_none=True)}


def _about(run: Run) -> JsonObject:
    return {
        "organization": run.organization,
        "run": run.id,
        "workflow": run.workflow,
        "workflow_version": run.version,
    }


def wait_id(kind: str) -> str:
    """Approvals, forms and unknown outcomes are known to people by theirs."""
    return new_id("apr" if kind in ("approval", "input", "outcome") else "wait")
