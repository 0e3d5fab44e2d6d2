"""Run another workflow, and go on with its result."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from crewmesh_contracts.ids import RunId, Slug, WorkflowId
from crewmesh_contracts.workflow.nodes.base import ERROR, OUT, NodeBase


class SubWorkflowOutput(Reply):
    run: RunId | None
    status: Literal["completed", "failed", "cancelled"]
    output: JsonObject | None


class WorkflowNode(NodeBase):
    """The other workflow's published version at that moment, started once, with ``inputs`` as its ``trigger.data``.

    Output: ``run``, ``status``, ``output``. When it fails so does this step, or it leaves by port error (on_error). The
    same where no run of it could begin; ``run`` is null then.
    """

    Output: ClassVar = SubWorkflowOutput

    kind: Literal["workflow"]
    workflow: Annotated[WorkflowId | Slug, Field(description="Its id, or its slug.")]
    inputs: Annotated[dict[str, JsonValue], Field(description="Templates may stand anywhere.")] = {}
    on_error: Literal["fail", "handle"] = "fail"

    @property
    def ports(self) -> tuple[str, ...]:
        return (OUT, ERROR) if self.on_error == "handle" else (OUT,)
