"""Approvals as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.ids import RunId, WorkflowId
from crewmesh_contracts.patterns import GROUP, PERSON
from pydantic import Field, StringConstraints

from crewmesh_workflow.approvals.rules import Kind, Verdict

ApprovalId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,12}_[0-9a-f]{32}$")]
Status: TypeAlias = Literal["open", "decided", "expired", "cancelled"]
StatusFilter: TypeAlias = Literal["open", "decided", "expired", "cancelled", "all"]
# One of Crewmesh's ids, or what an identity provider calls somebody.
Person: TypeAlias = Annotated[str, StringConstraints(pattern=PERSON)]
Group: TypeAlias = Annotated[str, StringConstraints(pattern=GROUP)]


class ApprovalSummary(Reply):
    """A question to people in a list."""

    id: ApprovalId
    kind: Annotated[
        Kind, Field(description="approval: yes or no; input: a form; outcome: what came of a step that nobody knows.")
    ]
    status: Annotated[Status, Field(description="cancelled: its run went on, or ended, without an answer.")]
    verdict: Annotated[Verdict | None, Field(description="What came of it; null unless it is decided.")]
    title: str
    run: RunId
    workflow: WorkflowId
    workflow_version: int
    path: Annotated[str, Field(description="The step that waits.")]
    assignees: Annotated[tuple[str, ...], Field(description="Who is asked; empty: everybody who may decide approvals.")]
    quorum: Annotated[int, Field(description="How many must say yes; one no is enough for a no.")]
    created_at: datetime
    until: Annotated[datetime | None, Field(description="When it expires; null: never.")]
    decided_at: datetime | None


class DecisionMade(Reply):
    """What one person said."""

    by: str
    approved: bool
    comment: str | None
    proposal: Annotated[int, Field(description="The proposal it was said about.")]
    data: Annotated[JsonValue, Field(description="What was changed or filled in; null: nothing.")]
    void: Annotated[bool, Field(description="A yes that does not count any more: what it agreed to was changed.")]
    at: datetime


class Approval(ApprovalSummary):
    """A question to people, with what was said so far."""

    details: str | None
    data: Annotated[JsonValue, Field(description="What is to be approved, as it was changed last.")]
    proposal: Annotated[int, Field(description="The number of what is to be approved: it grows with every change.")]
    form: Annotated[JsonObject | None, Field(description="JSON Schema of the answer, when a form is to be filled in.")]
    about: Annotated[JsonObject, Field(description="The step in question: for policies and unknown outcomes.")]
    decisions: tuple[DecisionMade, ...]
    escalated: Annotated[bool, Field(description="Whether more people were asked because nobody decided in time.")]
    may_decide: Annotated[bool, Field(description="Whether it is open, and the caller among those who are asked.")]


class ApprovalDecision(Contract):
    """What somebody decides. Which members belong to it depends on the kind of the question.

    approval: ``approved``, with ``data`` to change what is proposed. input: ``data``, as the form wants it. outcome:
    ``happened`` (true with the ``output`` that the step would have had), or ``fail``.
    """

    approved: bool | None = None
    comment: Annotated[str, Field(max_length=4_000)] | None = None
    data: Annotated[JsonValue, Field(description="Replaces what is proposed; or fills the form in.")] = None
    proposal: Annotated[
        int, Field(ge=1, description="The proposal that a yes is meant for; needed when it was changed before.")
    ] = 1
    happened: Annotated[
        bool | None, Field(description="Whether the step's effect took place. false: it is attempted again.")
    ] = None
    output: Annotated[JsonObject | None, Field(description="The step's output, when its effect took place.")] = None
    fail: Annotated[bool | None, Field(description="The step fails, whatever happened.")] = None


class ApprovalLinkRequest(Contract):
    """Who gets the link, and for how long it works."""

    for_: Annotated[Person, Field(alias="for", description="The person who decides with it: user:….")]
    groups: Annotated[
        tuple[Group, ...],
        Field(max_length=20, description="What that person belongs to, on the word of who asks for the link."),
    ] = ()
    expires_seconds: Annotated[int, Field(ge=60, le=30 * 86_400)] = 3 * 86_400


class ApprovalLink(Reply):
    """A link that decides once. Whoever has it can use it: send it to nobody else."""

    url: str
    expires_at: datetime
