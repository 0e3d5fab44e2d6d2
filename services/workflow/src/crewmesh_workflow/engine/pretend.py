"""What steps of a test run give instead of acting: a sample of the start, of the node, or one made from the kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.base import AnyOutput, EffectNode, NodeBase

from crewmesh_workflow.nodes.base import Decided, Refused, WaitFor, Waiting
from crewmesh_workflow.program.model import CompiledNode

_EXAMPLES: dict[str, JsonValue] = {"string": "sample", "integer": 1, "number": 1.0, "boolean": True, "null": None}


def effect(node: CompiledNode, path: str, samples: Mapping[str, JsonValue]) -> Decided:
    """The output of an effect that is not done."""
    given = _given(node, path, samples)
    if given is None and isinstance(node.node, EffectNode):
        given = node.node.sample
    return Decided(given if isinstance(given, dict) else example(type(node.node)))


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
            return does.arrived({"data": _of_schema(wait_for.request.get("form"), {}), "by": None})
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
    schema = cast(JsonObject, node.Output.model_json_schema(mode="serialization"))
    made = _of_schema(schema, cast(JsonObject, schema.get("$defs", {})))
    return made if isinstance(made, dict) else {}


def _given(node: CompiledNode, path: str, samples: Mapping[str, JsonValue]) -> JsonValue:
    return samples[path] if path in samples else samples.get(node.id)


def _of_schema(schema: JsonValue, named: JsonObject, depth: int = 0) -> JsonValue:
    if not isinstance(schema, dict) or depth > 8:
        return None
    for keyword in ("default", "const"):
        if keyword in schema:
            return schema[keyword]
    reference, choices = schema.get("$ref"), schema.get("enum") or schema.get("examples")
    if isinstance(reference, str):
        return _of_schema(named.get(reference.rsplit("/", 1)[-1]), named, depth + 1)
    if isinstance(choices, list) and choices:
        return choices[0]
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list) and options:
        return _of_schema(options[0], named, depth + 1)
    properties = schema.get("properties")
    if isinstance(properties, dict):
        return {name: _of_schema(member, named, depth + 1) for name, member in properties.items()}
    if schema.get("type") == "array":
        item = _of_schema(schema.get("items"), named, depth + 1)
        return [] if item is None else [item]
    return {} if schema.get("type") == "object" else _EXAMPLES.get(str(schema.get("type")))
