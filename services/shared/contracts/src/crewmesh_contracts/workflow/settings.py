"""How the runs of a workflow behave as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.workflow.nodes.base import Assignee, Condition, Seconds


class ApprovalRule(Contract):
    """An action for which ``when`` is true waits for a yes before it is done."""

    when: Annotated[Condition, Field(description="CEL over node (id, kind) and input, the rendered request.")] = "true"
    assignees: Annotated[tuple[Assignee, ...], Field(max_length=50)] = ()
    quorum: Annotated[int, Field(ge=1, le=20)] = 1
    expires_seconds: Seconds | None = None


class Concurrency(Contract):
    """How many runs of the workflow are at work at a time; more of them queue, or are refused."""

    limit: Annotated[int, Field(ge=1, le=10_000)]
    when_full: Literal["queue", "refuse"] = "queue"


class WorkflowSettings(Contract):
    mode: Annotated[
        Literal["autonomous", "human_in_the_loop", "hybrid"],
        Field(
            description="autonomous: only approval nodes ask. human_in_the_loop: every action that reaches the world "
            "asks. hybrid: those ask for which a rule of approval_rules is true."
        ),
    ] = "autonomous"
    approval_rules: Annotated[tuple[ApprovalRule, ...], Field(max_length=50)] = ()
    timeout_seconds: Annotated[
        Seconds | None, Field(description="A run that takes longer fails. The time that it queues does not count.")
    ] = None
    concurrency: Concurrency | None = None
    priority: Annotated[int, Field(ge=0, le=9, description="Among runs that wait to be worked on; 9 is first.")] = 5
    retention_days: Annotated[int | None, Field(ge=1, le=3_650, description="Runs are purged so long after.")] = None
    input_schema: Annotated[
        JsonObject | None,
        Field(
            description="JSON Schema of the input of a start by API or by a workflow step; "
            "checked before the start. Other triggers bring what they are."
        ),
    ] = None
