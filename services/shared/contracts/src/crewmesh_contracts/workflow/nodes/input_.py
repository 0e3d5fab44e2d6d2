"""Ask a person to fill in a form."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from crewmesh_contracts.workflow.nodes.approval import Escalation
from crewmesh_contracts.workflow.nodes.base import OUT, Assignee, NodeBase, Seconds, Template


class InputOutput(Reply):
    data: JsonValue
    by: str | None


class InputNode(NodeBase):
    """``form`` is a JSON Schema; the answer must follow it. Output: ``data`` and ``by``."""

    Output: ClassVar = InputOutput

    kind: Literal["input"]
    title: Template
    details: Template | None = None
    form: Annotated[JsonObject, Field(description="JSON Schema of the answer; an object.")]
    assignees: Annotated[tuple[Assignee, ...], Field(max_length=50)] = ()
    expires_seconds: Seconds | None = None
    escalation: Escalation | None = None

    @property
    def ports(self) -> tuple[str, ...]:
        return (OUT, "expired")
