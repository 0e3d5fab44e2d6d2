"""Whether a graph can be gone through: every node can be reached, and what branches leads somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Set

from crewmesh_contracts.workflow import Edge
from crewmesh_contracts.workflow.nodes.base import OUT, NodeBase
from crewmesh_contracts.workflow.nodes.join import JoinNode

from crewmesh_workflow.program.errors import Mistakes
from crewmesh_workflow.program.graphs import Structure

# Ports that are taken only when a time is over, and the field that says which.
_TIMED = {"expired": "expires_seconds", "timeout": "timeout_seconds"}


def check_connections(shape: Structure, seen: Set[str] | None, place: str, mistakes: Mistakes) -> None:
    """``seen``: the steps whose output is read somewhere; None: whichever."""
    for id_, message in _wrong(shape, seen):
        mistakes.add(f"{place}nodes.{id_}", message)


def _wrong(shape: Structure, seen: Set[str] | None) -> Iterator[tuple[str, str]]:
    for id_, node in shape.nodes.items():
        unreached = _unreached(shape, id_)
        if unreached is not None:
            yield id_, unreached
        if isinstance(node, JoinNode):
            yield from ((id_, message) for message in _join(node, len(shape.incoming[id_])))
        connected = {edge.port for edge in shape.outgoing[id_]}
        loose = _loose(node, connected, seen is None or id_ in seen)
        if loose is not None:
            yield id_, loose


def _unreached(shape: Structure, id_: str) -> str | None:
    edges = shape.incoming[id_]
    fields = [_never_taken(shape.nodes[edge.from_], edge) for edge in edges]
    if not edges or not all(fields):
        return None
    return (
        f"this is never reached: port {edges[0].port} of {edges[0].from_!r} is taken only when a time is over; give "
        f"{edges[0].from_!r} {fields[0]}"
    )


def _never_taken(node: NodeBase, edge: Edge) -> str | None:
    """The field that is missing for the edge to be taken."""
    field = _TIMED.get(edge.port)
    if field is None or getattr(node, field, 0) is not None:
        return None
    return field


def _join(node: JoinNode, branches: int) -> Iterator[str]:
    if node.count is not None and node.count > branches:
        yield f"this waits for {node.count} branches, but {branches} lead to it; add edges or lower count"


def _loose(node: NodeBase, connected: Set[str], seen: bool) -> str | None:
    if len(node.ports) > 1 and OUT not in node.ports and not connected and not seen:
        return f"none of the ways {', '.join(node.ports[:10])} leads anywhere; add an edge from at least one of them"
    return None
