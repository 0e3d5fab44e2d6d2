"""Definitions in a form in which they can be compared: every default spelled out.

A draft need not be a definition yet. Whatever part of it can be read alone is made normal alone; the rest keeps the
form it has, with the defaults of its kind around it.
"""

from __future__ import annotations

from functools import cache

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition, Graph
from crewmesh_contracts.workflow.nodes.base import NODE_KINDS, NodeBase
from crewmesh_contracts.workflow.triggers.base import TRIGGER_KINDS
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

# Fields of one that hold a graph as a whole.
Holders = tuple[str, ...]


def build() -> None:
    """Have every kind ready to be read: they are built when first used, and two threads must not do that at once."""
    for kind in (Definition, Graph, *NODE_KINDS.all().values(), *TRIGGER_KINDS.all().values()):
        kind.model_rebuild()


def spelled_out(definition: Definition) -> JsonObject:
    return definition.model_dump(mode="json", by_alias=True)


def normal(document: JsonObject) -> JsonObject:
    try:
        return spelled_out(Definition.model_validate(document))
    except ValidationError:
        pass
    around = _with_defaults(Definition, document)
    triggers = around["triggers"]
    if isinstance(triggers, list):
        around["triggers"] = [_normal_trigger(trigger) for trigger in triggers]
    return _normal_graph(around)


def same(one: JsonObject, other: JsonObject) -> bool:
    return normal(one) == normal(other)


@cache
def graphs_in(kind: type[BaseModel]) -> Holders:
    """The fields of a node (or definition) that hold a nested graph."""
    return tuple(
        field.alias or name
        for name, field in kind.model_fields.items()
        if field.annotation is Graph or field.annotation == (Graph | None)
    )


def node_kind(node: JsonValue) -> type[NodeBase] | None:
    kind = node.get("kind") if isinstance(node, dict) else None
    return NODE_KINDS.all().get(kind) if isinstance(kind, str) else None


def _normal_graph(graph: JsonObject) -> JsonObject:
    nodes, edges = graph.get("nodes"), graph.get("edges")
    if isinstance(nodes, list):
        graph["nodes"] = [_normal_node(node) for node in nodes]
    if isinstance(edges, list):
        graph["edges"] = [{"port": "out", **edge} if isinstance(edge, dict) else edge for edge in edges]
    on_failure = graph.get("on_failure")
    if isinstance(on_failure, dict):
        graph["on_failure"] = _normal_graph(_with_defaults(Graph, on_failure))
    return graph


def _normal_node(node: JsonValue) -> JsonValue:
    kind = node_kind(node)
    if kind is None or not isinstance(node, dict):
        return node
    try:
        return kind.model_validate(node).model_dump(mode="json", by_alias=True)
    except ValidationError:
        filled = _with_defaults(kind, node)
    for field in graphs_in(kind):
        body = filled.get(field)
        if isinstance(body, dict):
            filled[field] = _normal_graph(_with_defaults(Graph, body))
    return filled


def _normal_trigger(trigger: JsonValue) -> JsonValue:
    if not isinstance(trigger, dict):
        return trigger
    kind = TRIGGER_KINDS.all().get(str(trigger.get("kind")))
    return trigger if kind is None else _with_defaults(kind, trigger)


def _with_defaults(kind: type[BaseModel], part: JsonObject) -> JsonObject:
    defaults: JsonObject = {
        field.alias or name: to_jsonable_python(field.get_default(call_default_factory=True), by_alias=True)
        for name, field in kind.model_fields.items()
        if not field.is_required()
    }
    return {**defaults, **part}
