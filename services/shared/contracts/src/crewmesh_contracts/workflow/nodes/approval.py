"""Ask people for a yes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonValue, Reply
from crewmesh_contracts.workflow.nodes.base import Assignee, NodeBase, Seconds, Template


class Escalation(Contract):
    """Who else is asked when nobody has decided in time."""

    after_seconds: Seconds
    to: Annotated[tuple[Assignee, ...], Field(min_length=1, max_length=50)]


class Decision(Reply):
    by: str
    approved: bool
    comment: str | None


class ApprovalOutput(Reply):
    approved: bool
    data: JsonValue
    decisions: list[Decision]


class ApprovalNode(NodeBase):
    """``data`` is what is approved; who approves may change it first. With ``quorum`` n, n people must say yes.

    One no is enough for ``rejected``. Output: ``approved``, ``data`` as it was approved, ``decisions``.
    """

    Output: ClassVar = ApprovalOutput

    kind: Literal["approval"]
    title: Template
    details: Template | None = None
    data: Annotated[JsonValue, Field(description="Templates may stand anywhere.")] = None
    assignees: Annotated[
        tuple[Assignee, ...], Field(max_length=50, description="Empty: everybody who may decide approvals.")
    ] = ()
    quorum: Annotated[int, Field(ge=1, le=20)] = 1
    expires_seconds: Seconds | None = None
    escalation: Escalation | None = None

    @property
    def ports(self) -> tuple[str, ...]:
        return ("approved", "rejected", "expired")
