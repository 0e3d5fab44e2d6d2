"""Runs as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import JsonObject, Reply
from crewmesh_contracts.ids import RunId, WorkflowId
from pydantic import Field

RunStatus: TypeAlias = Literal["running", "completed", "failed"]


class Failure(Reply):
    """Why something failed: the slug of a problem, and the sentence that goes with it."""

    type: str
    detail: str


class RunFailure(Failure):
    node: Annotated[str | None, Field(description="The step that failed; null when it was none.")]


class StartedBy(Reply):
    """The event that started a run."""

    id: str
    source: str
    type: str


class RunSummary(Reply):
    """A run in a list."""

    id: RunId
    event: StartedBy
    workflow: WorkflowId
    workflow_version: int
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None
    error: RunFailure | None


class RunDetail(RunSummary):
    """A run with what started it and what came of it."""

    trigger: JsonObject
    output: JsonObject | None
    last_event: Annotated[int, Field(description="Number of the newest event; follow from here, or from 0 for all.")]


class StepDetail(Reply):
    """One node's part in a run. A step that was not reached yet is not listed."""

    node: str
    status: Literal["running", "completed", "skipped", "failed"]
    attempt: int
    input: JsonObject | None
    output: JsonObject | None
    port: str | None
    error: Failure | None
    retry_at: datetime | None
    started_at: datetime
    finished_at: datetime | None


class Steps(Reply):
    """The steps of a run in the order of its definition."""

    items: tuple[StepDetail, ...]


class StoredEvent(Reply):
    """Something that happened in a run."""

    seq: int
    type: str
    data: JsonObject
    at: datetime
