"""What is different between two definitions, told by their structure and not by their text.

Nodes are the same by their id in their graph, triggers by their key. The graphs inside nodes are compared like the
outermost one. The order of nodes and edges has no meaning and makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, TypeAlias, cast

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from pydantic import Field

from crewmesh_workflow.definitions.normal import graphs_in, node_kind, normal


class Change(Reply):
    """One field. What was not there before, or is not there any more, is null."""

    path: Annotated[str, Field(description="Dotted, from where it is told: retry.attempts, cases.1.condition.")]
    before: JsonValue
    after: JsonValue


class NodeOf(Reply):
    """A node that is there on one side only."""

    path: Annotated[str, Field(description="Where it is: nodes.search, nodes.loop.body.nodes.send.")]
    kind: str
    name: str | None


class NodeChange(Reply):
    path: str
    changes: tuple[Change, ...]


class NodeDiff(Reply):
    added: tuple[NodeOf, ...]
    removed: tuple[NodeOf, ...]
    changed: tuple[NodeChange, ...]


class EdgeOf(Reply):
    """An edge that is there on one side only; ``graph`` is empty for the outermost graph."""

    graph: str
    from_: Annotated[str, Field(alias="from")]
    port: str
    to: str


class EdgeDiff(Reply):
    added: tuple[EdgeOf, ...]
    removed: tuple[EdgeOf, ...]


class TriggerDiff(Reply):
    """Triggers by their key: their id, or their position where they have none."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[NodeChange, ...]


class Diff(Reply):
    same: bool
    nodes: NodeDiff
    edges: EdgeDiff
    triggers: TriggerDiff
    settings: tuple[Change, ...]
    other: Annotated[tuple[Change, ...], Field(description="Name, slug, env, output and so on.")]
    layout: Annotated[bool, Field(description="Whether nodes are shown elsewhere.")]


_TOLD_APART = ("nodes", "edges", "triggers", "settings", "on_failure", "layout")
_NO_GRAPH: JsonObject = {"nodes": [], "edges": [], "output": {}}
_Edge: TypeAlias = tuple[str, str, str, str]


def diff(before: JsonObject, after: JsonObject) -> Diff:
    one, other = normal(before), normal(after)
    graphs = _Graphs()
    graphs.compare("", one, other)
    if one.get("on_failure") != other.get("on_failure"):
        graphs.compare("on_failure.", _graph(one.get("on_failure")), _graph(other.get("on_failure")))
    return Diff(
        same=one == other,
        nodes=NodeDiff(added=tuple(graphs.added), removed=tuple(graphs.removed), changed=tuple(graphs.changed)),
        edges=EdgeDiff(added=tuple(graphs.edges_added), removed=tuple(graphs.edges_removed)),
        triggers=_triggers(one.get("triggers"), other.get("triggers")),
        settings=tuple(_changes("", one.get("settings"), other.get("settings"))),
        other=(*_changes("", _but(one, *_TOLD_APART), _but(other, *_TOLD_APART)), *graphs.outputs),
        layout=one.get("layout") != other.get("layout"),
    )


class _Graphs:
    """Collects what is different in a graph and in those inside its nodes."""

    def __init__(self) -> None:
        self.added: list[NodeOf] = []
        self.removed: list[NodeOf] = []
        self.changed: list[NodeChange] = []
        self.edges_added: list[EdgeOf] = []
        self.edges_removed: list[EdgeOf] = []
        self.outputs: list[Change] = []

    def compare(self, place: str, one: JsonObject, other: JsonObject) -> None:
        """``place`` is what paths begin with: nothing, ``on_failure.`` or ``nodes.loop.body.``."""
        before, after = _nodes(one), _nodes(other)
        for id_ in before.keys() | after.keys():
            self._node(f"{place}nodes.{id_}", before.get(id_), after.get(id_))
        for into in (self.added, self.removed, self.changed):
            into.sort(key=lambda each: each.path)
        edges, edges_after = _edges(place, one), _edges(place, other)
        self.edges_added += [_edge(edge) for edge in sorted(edges_after - edges)]
        self.edges_removed += [_edge(edge) for edge in sorted(edges - edges_after)]
        if place:
            self.outputs += _changes(f"{place}output", one.get("output"), other.get("output"))

    def _node(self, path: str, one: JsonObject | None, other: JsonObject | None) -> None:
        if one is None or other is None:
            there = cast(JsonObject, other if one is None else one)
            name = there.get("name")
            told = NodeOf(path=path, kind=str(there.get("kind") or ""), name=name if isinstance(name, str) else None)
            (self.added if one is None else self.removed).append(told)
            return
        if one == other:
            return
        inner = _holders(one, other)
        changes = tuple(_changes("", _but(one, *inner), _but(other, *inner)))
        if changes:
            self.changed.append(NodeChange(path=path, changes=changes))
        for field in inner:
            self.compare(f"{path}.{field}.", _graph(one.get(field)), _graph(other.get(field)))


def _holders(one: JsonObject, other: JsonObject) -> tuple[str, ...]:
    """The graphs that both nodes hold."""
    kinds = [kind for kind in (node_kind(one), node_kind(other)) if kind is not None]
    if len(kinds) < 2:
        return ()
    fields = set(graphs_in(kinds[0])) & set(graphs_in(kinds[1]))
    return tuple(field for field in fields if isinstance(one.get(field), dict) and isinstance(other.get(field), dict))


def _graph(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else _NO_GRAPH


def _nodes(graph: JsonObject) -> dict[str, JsonObject]:
    return _by(graph.get("nodes"), "id")


def _by(items: JsonValue, field: str) -> dict[str, JsonObject]:
    found: dict[str, JsonObject] = {}
    for number, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            name = item.get(field)
            found[name if isinstance(name, str) else str(number)] = item
    return found


def _edges(place: str, graph: JsonObject) -> set[_Edge]:
    edges = graph.get("edges")
    return {
        (place.removesuffix("."), str(edge.get("from")), str(edge.get("port")), str(edge.get("to")))
        for edge in (edges if isinstance(edges, list) else [])
        if isinstance(edge, dict)
    }


def _edge(edge: _Edge) -> EdgeOf:
    graph, from_, port, to = edge
    return EdgeOf(graph=graph, from_=from_, port=port, to=to)


def _triggers(before: JsonValue, after: JsonValue) -> TriggerDiff:
    one, other = _by(before, "id"), _by(after, "id")
    changed = [
        NodeChange(path=f"triggers.{key}", changes=tuple(_changes("", one[key], other[key])))
        for key in other
        if key in one and one[key] != other[key]
    ]
    return TriggerDiff(
        added=tuple(key for key in other if key not in one),
        removed=tuple(key for key in one if key not in other),
        changed=tuple(changed),
    )


def _but(value: JsonObject, *names: str) -> JsonObject:
    return {name: member for name, member in value.items() if name not in names}


def _changes(path: str, before: JsonValue, after: JsonValue) -> Iterator[Change]:
    """Down to the fields that differ."""
    if before == after and type(before) is type(after):
        return
    pair = _members(before, after)
    if pair is None:
        yield Change(path=path, before=before, after=after)
        return
    one, other = pair
    for name in {**one, **other}:
        yield from _changes(f"{path}.{name}" if path else name, one.get(name), other.get(name))


def _members(before: JsonValue, after: JsonValue) -> tuple[Mapping[str, JsonValue], Mapping[str, JsonValue]] | None:
    if isinstance(before, dict) and isinstance(after, dict):
        return before, after
    if isinstance(before, list) and isinstance(after, list):
        return _numbered(before), _numbered(after)
    return None


def _numbered(items: list[JsonValue]) -> dict[str, JsonValue]:
    return {str(number): item for number, item in enumerate(items)}
