"""The shape of a graph, apart from what its nodes do: which come before which, and whether it can be gone through.

An edge that cannot be is reported and left out, so that everything else is still looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from crewmesh_contracts.workflow import Edge, Graph
from crewmesh_contracts.workflow.nodes.base import NodeBase

from crewmesh_workflow.program.errors import Mistakes
from crewmesh_workflow.program.unread import NOTHING_UNREAD, Unread

MAX_CIRCLES = 20


@dataclass(frozen=True, slots=True)
class Structure:
    """Nodes in an order that respects the edges; for each one the edges in and out, and every node before it.

    ``whole``: there are no other ways than these.
    """

    nodes: dict[str, NodeBase]
    incoming: dict[str, tuple[Edge, ...]]
    outgoing: dict[str, tuple[Edge, ...]]
    before: dict[str, frozenset[str]]
    whole: bool = True

    def only_before(self, meeting: str) -> frozenset[str]:
        """The nodes that lead nowhere but to this one."""
        only: set[str] = {meeting}
        for node in reversed(self.nodes):
            edges = self.outgoing[node]
            if edges and node != meeting and all(edge.to in only for edge in edges):
                only.add(node)
        return frozenset(only - {meeting})


def structure(graph: Graph, place: str, mistakes: Mistakes, unread: Unread = NOTHING_UNREAD) -> Structure:
    """``place`` is what paths begin with: nothing, or ``nodes.loop.body.``."""
    nodes = _nodes(graph, place, mistakes)
    edges = dict(_edges(graph, nodes, place, mistakes, unread))
    incoming, outgoing = _ends(nodes, edges.values())
    order = _in_order(incoming, outgoing)
    told = 0
    while len(order) < len(nodes):
        if told == MAX_CIRCLES:
            mistakes.add(f"{place}edges", f"there are more circles than these {MAX_CIRCLES}; correct them first")
            mistakes.refuse()
        told += 1
        # Without the edge that closes the circle, the rest can still be looked at.
        circle = _circle(set(nodes).difference(order), outgoing)
        closing = next(number for number, edge in edges.items() if (edge.from_, edge.to) == circle[-2:])
        mistakes.add(f"{place}edges.{closing}", _going_round(circle))
        del edges[closing]
        incoming, outgoing = _ends(nodes, edges.values())
        order = _in_order(incoming, outgoing)
    in_order = {node: nodes[node] for node in order}
    return Structure(in_order, incoming, outgoing, _before(order, incoming), whole=_all_read(graph, place, unread))


def _going_round(circle: tuple[str, ...]) -> str:
    way = " → ".join(circle if len(circle) <= 8 else (*circle[:6], "…", circle[-1]))
    return f"{way} is a circle, so that none could be first; put what repeats into the body of a for_each or while"


def _nodes(graph: Graph, place: str, mistakes: Mistakes) -> dict[str, NodeBase]:
    nodes: dict[str, NodeBase] = {}
    for node in graph.nodes:
        if node.id in nodes:
            mistakes.add(f"{place}nodes.{node.id}", f"there are two nodes {node.id!r}; give each an id of its own")
        nodes.setdefault(node.id, node)
    return nodes


def _edges(
    graph: Graph, nodes: dict[str, NodeBase], place: str, mistakes: Mistakes, unread: Unread
) -> Iterable[tuple[int, Edge]]:
    seen: set[Edge] = set()
    for number, edge in enumerate(graph.edges):
        here = f"{place}edges.{number}"
        if not _ends_read(edge, nodes, place, here, unread):
            continue
        port_read = not unread.at(f"{here}.port")
        wrong = _wrong(edge, nodes, any_port=not port_read or unread.ports(f"{place}nodes.{edge.from_}"))
        if port_read and edge in seen:
            wrong = "this edge is there twice; remove one of them"
        seen.update((edge,) if port_read else ())
        if wrong is None:
            yield number, edge
        else:
            mistakes.add(here, wrong)


def _ends_read(edge: Edge, nodes: dict[str, NodeBase], place: str, here: str, unread: Unread) -> bool:
    """Whether both of its ends are known, as far as there are such nodes."""
    if unread.at(here, f"{here}.from", f"{here}.to"):
        return False
    return not unread.at(f"{place}nodes") or (edge.from_ in nodes and edge.to in nodes)


def _all_read(graph: Graph, place: str, unread: Unread) -> bool:
    if unread.at(f"{place}nodes", f"{place}edges"):
        return False
    edges = (f"{place}edges.{number}" for number in range(len(graph.edges) if unread.places else 0))
    return not any(unread.at(edge, f"{edge}.from", f"{edge}.to") for edge in edges)


def _wrong(edge: Edge, nodes: dict[str, NodeBase], *, any_port: bool) -> str | None:
    for end in (edge.from_, edge.to):
        if end not in nodes:
            return f"there is no node {end!r} in this graph; name one of {_list(nodes)}"
    ports = nodes[edge.from_].ports
    if edge.port in ports or any_port:
        return None
    if not ports:
        return f"{edge.from_!r} ends the run, so nothing comes after it; remove this edge"
    return f"{edge.from_!r} has no port {edge.port[:64]!r}; use {_list(ports)}"


def _list(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:10]) + (", …" if len(known) > 10 else "")


def _ends(
    nodes: Iterable[str], edges: Iterable[Edge]
) -> tuple[dict[str, tuple[Edge, ...]], dict[str, tuple[Edge, ...]]]:
    incoming: dict[str, list[Edge]] = {node: [] for node in nodes}
    outgoing: dict[str, list[Edge]] = {node: [] for node in nodes}
    for edge in edges:
        incoming[edge.to].append(edge)
        outgoing[edge.from_].append(edge)
    return (
        {node: tuple(edges) for node, edges in incoming.items()},
        {node: tuple(edges) for node, edges in outgoing.items()},
    )


def _in_order(incoming: dict[str, tuple[Edge, ...]], outgoing: dict[str, tuple[Edge, ...]]) -> list[str]:
    """Nodes such that each comes after all before it; those of a circle, and what comes after it, are missing."""
    undecided = {node: len(edges) for node, edges in incoming.items()}
    free = deque(node for node, count in undecided.items() if count == 0)
    order: list[str] = []
    while free:
        node = free.popleft()
        order.append(node)
        for edge in outgoing[node]:
            undecided[edge.to] -= 1
            if undecided[edge.to] == 0:
                free.append(edge.to)
    return order


def _circle(left: set[str], outgoing: dict[str, tuple[Edge, ...]]) -> tuple[str, ...]:
    """One circle among the nodes that no order was found for; its first node again at its end."""
    # Each of them has an edge in from another of them, so going backwards comes round.
    sources = {edge.to: edge.from_ for node in sorted(left) for edge in outgoing[node] if edge.to in left}
    node = min(left)
    way: dict[str, None] = {}
    while node not in way:
        way[node] = None
        node = sources[node]
    backwards = [*way]
    circle = [node, *backwards[: backwards.index(node) : -1]] if node != backwards[-1] else [node]
    return (*circle, node)


def _before(order: Iterable[str], incoming: dict[str, tuple[Edge, ...]]) -> dict[str, frozenset[str]]:
    before: dict[str, frozenset[str]] = {}
    for node in order:
        direct = {edge.from_ for edge in incoming[node]}
        before[node] = frozenset(direct).union(*(before[source] for source in direct))
    return before
