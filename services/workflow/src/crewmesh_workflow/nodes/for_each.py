"""Do the same for every item of a list."""

from __future__ import annotations

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow.nodes.for_each import ForEachNode

from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.expressions.values import kind_of
from crewmesh_workflow.nodes.base import Each, Reader, kind

# Each item is at least one step in the journal.
MOST_ITEMS = 10_000


def _bind(node: ForEachNode, read: Reader) -> Each:
    template = read.template("items", node.items)

    if isinstance(node.items, list):
        read.written("items", node.items, _items)

    return Each(
        items=lambda scope: _items(template.value(scope)),
        body=read.graph("body", node.body, reads=("item", "index")),
        concurrency=node.concurrency,
        keep_going=node.on_item_error == "continue",
    )


def _items(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise ExpressionError(f"items must be a list, but is {kind_of(value)}")
    if len(value) > MOST_ITEMS:
        raise ExpressionError(f"items has {len(value)} items; at most {MOST_ITEMS} are possible in one for_each")
    return value


KIND = kind(ForEachNode, _bind)
