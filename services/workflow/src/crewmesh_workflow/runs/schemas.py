"""Runs as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from crewmesh_contracts.ids import RunId, WorkflowId
from pydantic import Field

RunStatus: TypeAlias = Literal["queued", "running", "waiting", "paused", "completed", "failed", "cancelled"]
StepStatus: TypeAlias = Literal["running", "waiting", "completed", "skipped", "failed", "cancelled"]
Origin: TypeAlias = Literal["event", "api", "webhook", "cron", "run_ended", "child", "rerun", "fork", "test"]
Level: TypeAlias = Literal["info", "warning", "error"]

LIVE: frozenset[RunStatus] = frozenset({"queued", "running", "waiting", "paused"})


class Failure(Reply):
    """Why something failed: the slug of a problem, and the sentence that goes with it."""

    type: str
    detail: str


class RunFailure(Failure):
    node: Annotated[str | None, Field(description="Path of the step that failed; null when it was none.")] = None


class StartedBy(Reply):
    """The event that started a run."""

    id: str
    source: str
    type: str


class RunSummary(Reply):
    """A run in a list."""

    id: RunId
    event: Annotated[StartedBy | None, Field(description="The event that started it, if one did.")]
    workflow: WorkflowId
    workflow_version: Annotated[int, Field(description="Pinned at the start; negative for a tried draft.")]
    status: RunStatus
    asked: Annotated[
        Literal["pause", "cancel"] | None, Field(description="What was asked of it and has not come about yet.")
    ]
    test: Annotated[bool, Field(description="A test run does no effects; its steps give samples.")]
    origin: Origin
    started_by: Annotated[str, Field(description="Who or what started it: a key, a user, a trigger.")]
    source_run: Annotated[RunId | None, Field(description="The run that this is a rerun or a fork of.")]
    parent_run: Annotated[RunId | None, Field(description="The run in which a step started this one.")]
    priority: int
    created_at: datetime
    finished_at: datetime | None
    keep_until: Annotated[datetime | None, Field(description="When it may be purged, once it has ended.")]
    error: RunFailure | None


class OpenWait(Reply):
    """Something that a run waits for. ``retry``: a step pauses between two attempts."""

    id: Annotated[
        str, Field(description="Of approval, input and outcome: the id under /v1/approvals. Of a retry: its path.")
    ]
    path: str
    kind: Literal["timer", "event", "approval", "input", "outcome", "child", "retry"]
    title: Annotated[str | None, Field(description="Of a retry: why the last attempt failed.")]
    until: Annotated[datetime | None, Field(description="When the waiting ends by itself.")]
    since: Annotated[datetime, Field(description="Of a retry: when the step began.")]


class Usage(Reply):
    """What the models of a run were asked, added up over its steps. ``cost`` is in US dollars, as a decimal."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: str = "0"


class Response(Reply):
    """What a respond node answered."""

    status: int = 200
    headers: dict[str, str] = {}
    body: JsonValue = None


class RunDetail(RunSummary):
    """A run with what started it and what came of it."""

    trigger: JsonObject
    output: JsonObject | None
    response: Annotated[Response | None, Field(description="The answer of the first respond node it reached.")]
    parent_path: Annotated[str | None, Field(description="The step of the parent that started it.")]
    children: Annotated[int, Field(description="Runs that its steps started; GET /v1/runs?parent= lists them.")]
    waiting_for: Annotated[tuple[OpenWait, ...], Field(description="At most 100, the oldest first.")]
    progress: Annotated[dict[StepStatus, int], Field(description="How many steps it has by status.")]
    not_undone: Annotated[tuple[str, ...], Field(description="Paths of steps whose compensation failed; at most 100.")]
    usage: Annotated[
        Usage | None,
        Field(
            description="Of models that steps asked which are done, those of another run that it took over as well; "
            "null when there is none. What was paid, by steps that failed too, is in GET /v1/usage/calls."
        ),
    ]
    deadline_at: Annotated[
        datetime | None,
        Field(description="When it fails for taking too long. Of a queued run it moves on when the run begins."),
    ]
    trace_id: Annotated[str | None, Field(description="Finds it in traces and logs. A run goes on in one trace.")]
    last_event: Annotated[int, Field(description="Number of the newest event; follow from here, or from 0 for all.")]


class Glance(Reply):
    """As much of a run as tells whether anything is new about it."""

    workflow: str
    status: RunStatus
    asked: Literal["pause", "cancel"] | None
    last_event: int


class StepSummary(Reply):
    """One node's part in a run. A step that was not reached yet is not listed."""

    path: Annotated[str, Field(description="node, loop[3].node, node!undo or !failure.node.")]
    node: Annotated[str, Field(description="Id of the node that stands there.")]
    status: StepStatus
    attempt: int
    rounds: Annotated[int, Field(description="Of a loop: how many rounds were begun.")]
    input: JsonObject | None
    output: JsonObject | None
    left_out: Annotated[
        tuple[Literal["input", "output"], ...],
        Field(description="What is too large for a list (over 64 KiB); GET /v1/runs/{run}/steps/{path} has it."),
    ] = ()
    ports: Annotated[tuple[str, ...], Field(description="The ways out that were taken.")]
    error: Failure | None
    retry_at: datetime | None
    started_at: datetime
    finished_at: datetime | None


class StepDetail(StepSummary):
    """A step with all that went in and came out, and what it waits for."""

    waiting_for: OpenWait | None = None


class LogLine(Reply):
    """Something that happened in a run, as a sentence."""

    seq: int
    at: datetime
    level: Level
    path: Annotated[str | None, Field(description="The step it is about; null when it is about the run.")]
    text: str


class StoredEvent(Reply):
    """Something that happened in a run."""

    seq: int
    type: str
    data: JsonObject
    at: datetime


class WorkflowStats(Reply):
    """The live runs of one workflow."""

    workflow: WorkflowId
    live: dict[RunStatus, int]


class RunStats(Reply):
    """How many runs there are, and how long they wait for their turn."""

    live: Annotated[dict[RunStatus, int], Field(description="Runs that have not ended, by status.")]
    ended: Annotated[dict[RunStatus, int], Field(description="How the newest runs that have ended did.")]
    ended_counted: Annotated[
        int, Field(description="How many of the newest runs were looked at for ended; 1,000 at most.")
    ]
    oldest_queued_at: datetime | None
    workflows: Annotated[
        tuple[WorkflowStats, ...], Field(description="Those with live runs; 200 at most, the busiest first.")
    ]
