"""What a sender of an event is told, and what is told of triggers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.ids import RunId, WorkflowId
from pydantic import Field

from crewmesh_workflow.schedules.schemas import ScheduleView


class FilterFailure(Reply):
    """A filter that could not say yes or no for this event: of a trigger, which started nothing, or of a step of a run,
    which waits on.
    """

    workflow: WorkflowId | None = None
    trigger: str | None = None
    run: RunId | None = None
    step: str | None = None
    detail: str


class Refusal(Reply):
    """A workflow that started no run because as many are at work as its settings allow, and no more may queue."""

    workflow: WorkflowId
    detail: str


class EventAccepted(Reply):
    """The event is taken. It may have come before, and then this is what it did then and now."""

    event: str
    runs: Annotated[tuple[RunId, ...], Field(description="Started for it: now, or when it arrived before.")]
    woken: Annotated[tuple[RunId, ...], Field(description="Waited for it and go on.")] = ()
    filter_failures: tuple[FilterFailure, ...] = ()
    refused: tuple[Refusal, ...] = ()


class WebhookView(Reply):
    """Where a webhook is called, and what proves a call. The secret is shown to who may write workflows."""

    url: str
    test_url: Annotated[str, Field(description="Starts a test run: nothing that reaches the world is done.")]
    auth: Literal["none", "basic", "header", "hmac", "github"]
    user: Annotated[str | None, Field(description="Of basic authentication.")] = None
    header: Annotated[str | None, Field(description="Where the secret, or the signature made with it, is sent.")] = None
    secret: str | None = None
    rotated_at: Annotated[
        datetime | None, Field(description="The secret before this one holds for a day from then on.")
    ] = None


class TriggerView(Reply):
    """One trigger of a workflow's published version."""

    key: Annotated[str, Field(description="Its id, or its position where it has none.")]
    kind: str
    enabled: Annotated[bool, Field(description="False while the workflow is paused or archived.")]
    config: JsonObject
    webhook: WebhookView | None = None
    schedule: ScheduleView | None = None
    target: Annotated[WorkflowId | None, Field(description="The workflow whose ends start runs.")] = None
    last_run: RunId | None = None
    last_run_at: datetime | None = None


class TriggerList(Reply):
    items: tuple[TriggerView, ...]


class Rotation(Contract):
    """What of a webhook is replaced."""

    part: Annotated[
        Literal["secret", "url"],
        Field(description="secret: the old one holds for a day. url: the old one ends at once, for it has leaked."),
    ] = "secret"
