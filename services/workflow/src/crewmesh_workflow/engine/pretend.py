"""What steps of a test run give instead of acting: a sample of the start, of the node, or one made from the kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.agent import AgentNode
from crewmesh_contracts.workflow.nodes.base import AnyOutput, EffectNode, NodeBase
from crewmesh_contracts.workflow.nodes.llm import LlmNode

from crewmesh_workflow import schema_examples
from crewmesh_workflow.nodes.base import Decided, Refused, WaitFor, Waiting
from crewmesh_workflow.program.model import CompiledNode
from crewmesh_workflow.schema_examples import NoExampleError, checked_example

SAMPLE_NEEDED = "sample-needed"


def effect(node: CompiledNode, path: str, samples: Mapping[str, JsonValue]) -> Decided | Refused:
    """The output of an effect that is not done."""
    given = _given(node, path, samples)
    if given is None and isinstance(node.node, EffectNode):
        given = node.node.sample
    if isinstance(given, dict):
        return Decided(given)
    try:
        return Decided(_made(node.node))
    except NoExampleError as error:
        return _sample_needed(path, "output_schema", error)


def wait(
    node: CompiledNode, does: Waiting, path: str, wait_for: WaitFor, samples: Mapping[str, JsonValue], now: str
) -> Decided | Refused:
    """The end of a wait that does not take place. A sample is what would arrive."""
    given = _given(node, path, samples)
    if isinstance(given, dict):
        return does.arrived(given)
    match wait_for.kind:
        case "approval":
            return does.arrived({"approved": True, "data": wait_for.request.get("data"), "decisions": []})
        case "input":
            try:
                filled_in = checked_example(cast(JsonObject, wait_for.request.get("form") or {}))
            except NoExampleError as error:
                return _sample_needed(path, "form", error)
            return does.arrived({"data": filled_in, "by": None})
        case "event":
            return does.arrived({"event": {"type": wait_for.event_type, "data": {}}})
        case "child":
            run = "run_" + "0" * 32
            return does.arrived({"run": run, "status": "completed", "output": {}, "error": None})
        case _:
            return does.over(now)


def example(node: type[NodeBase]) -> JsonObject:
    """An output as this kind of node declares it."""
    if node.Output is AnyOutput:
        return {}
    made = schema_examples.example(cast(JsonObject, node.Output.model_json_schema(mode="serialization")))
    return made if isinstance(made, dict) else {}


def data_schema(node: NodeBase) -> JsonObject | None:
    """What the node itself says about the member ``data`` of its output."""
    match node:
        case AgentNode() | LlmNode(task="extract"):
            return node.output_schema
        case _:
            return None


def _made(node: NodeBase) -> JsonObject:
    made, schema = example(type(node)), data_schema(node)
    if schema is not None:
        made["data"] = checked_example(schema)
    if isinstance(node, LlmNode) and node.task == "classify":
        made["label"] = node.labels[0]
    return made


def _given(node: CompiledNode, path: str, samples: Mapping[str, JsonValue]) -> JsonValue:
    return samples[path] if path in samples else samples.get(node.id)


def _sample_needed(path: str, field: str, error: NoExampleError) -> Refused:
    detail = f"Nothing could be made up that follows {field} of this step ({error}); give a sample for {path!r}."
    return Refused(SAMPLE_NEEDED, detail)
