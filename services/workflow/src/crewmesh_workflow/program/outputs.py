"""What is known of a step's output from its node alone: by its kind's ``Output``, and by what its author wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow import Graph
from crewmesh_contracts.workflow.nodes.base import NodeBase
from crewmesh_contracts.workflow.nodes.for_each import ForEachNode
from crewmesh_contracts.workflow.nodes.set_ import SetNode
from crewmesh_contracts.workflow.nodes.transform import TransformNode
from crewmesh_contracts.workflow.nodes.while_ import WhileNode

from crewmesh_workflow.expressions import ExpressionError, Path, compile_template
from crewmesh_workflow.program.shapes import (
    ANYTHING,
    NULL,
    TEXT,
    Shape,
    list_of,
    object_of,
    scalar,
    shape_of,
    shape_of_model,
)


def output_of(node: NodeBase) -> Shape:
    """The shape of the node's output."""
    if isinstance(node, TransformNode):
        return _written(node.output)
    if isinstance(node, SetNode):
        return _written(node.variables)
    known = shape_of_model(node.Output)
    if known.members is None:
        return known
    return object_of({**known.members, **_known_better(node), **_when_it_failed(node)})


def result_of(graph: Graph) -> Shape:
    return _written(graph.output)


def shape_of_template(value: JsonValue, known: Callable[[Path], Shape] = lambda _: ANYTHING) -> Shape:
    """What a value with templates in it becomes, as far as it shows. ``known`` tells the shape of what is read."""
    if isinstance(value, dict):
        return _written(value)
    if isinstance(value, list):
        return list_of(ANYTHING)
    if not isinstance(value, str):
        return shape_of(value)
    try:
        template = compile_template(value)
    except ExpressionError:
        return ANYTHING
    if template.whole is None:
        return scalar(TEXT)
    first, after = template.whole.first, template.whole.operations
    if after:
        return ANYTHING
    return known(first) if isinstance(first, Path) else shape_of(first.value)


def _written(members: Mapping[str, JsonValue]) -> Shape:
    return object_of({name: shape_of_template(value) for name, value in members.items()})


def _known_better(node: NodeBase) -> Mapping[str, Shape]:
    if isinstance(node, ForEachNode):
        return {"items": list_of(result_of(node.body).or_(scalar(NULL)))}
    if isinstance(node, WhileNode):
        return {"last": result_of(node.body).or_(scalar(NULL))}
    return {}


def _when_it_failed(node: NodeBase) -> Mapping[str, Shape]:
    handled: object = getattr(node, "on_error", "fail")
    return {} if handled == "fail" else {"error": ANYTHING}
