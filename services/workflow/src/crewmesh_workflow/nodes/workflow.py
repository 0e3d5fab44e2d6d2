"""Run another workflow, and go on with its result."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.base import ERROR, OUT
from crewmesh_contracts.workflow.nodes.workflow import WorkflowNode

from crewmesh_workflow.nodes.base import Decided, EffectContext, Place, Reader, Refused, WaitFor, Waiting, kind
from crewmesh_workflow.nodes.members import read_object

CHILD_FAILED = "child-run-failed"
_LONGEST_DETAIL = 1_000
_NO_RUN: JsonObject = {"run": None, "status": "failed", "output": None}


def _bind(node: WorkflowNode, read: Reader) -> Waiting:
    inputs = read_object(read, "inputs", node.inputs)

    def render(place: Place) -> WaitFor:
        return WaitFor("child", request={"workflow": node.workflow, "inputs": inputs(place.scope)})

    def arrived(child: JsonObject) -> Decided | Refused:
        output: JsonObject = {name: child.get(name) for name in ("run", "status", "output")}
        if output["status"] == "completed":
            return Decided(output, (OUT,))
        if node.on_error == "handle":
            return Decided({**output, "error": child.get("error")}, (ERROR,))
        return Refused(CHILD_FAILED, f"The run {output['run']} {_ended(child)}.{_reason(child.get('error'))}")

    not_begun = _NO_RUN if node.on_error == "handle" else None
    return Waiting(render=render, arrived=arrived, over=_over, begin=_begin, not_begun=not_begun)


async def _begin(request: JsonObject, context: EffectContext) -> None:
    inputs = request["inputs"]
    await context.start_child(str(request["workflow"]), inputs if isinstance(inputs, dict) else {})


def _ended(child: JsonObject) -> str:
    return "was cancelled" if child.get("status") == "cancelled" else "failed"


def _reason(error: JsonValue) -> str:
    detail = error.get("detail") if isinstance(error, dict) else None
    return f" {detail}"[:_LONGEST_DETAIL] if isinstance(detail, str) else ""


def _over(until: str) -> Refused:
    return Refused(CHILD_FAILED, f"The run of the other workflow had not ended at {until}.")


KIND = kind(WorkflowNode, _bind)
