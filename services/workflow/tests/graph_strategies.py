"""Random workflows whose result is the same however their steps happen to interleave.

Two shapes. A *line* may branch, but never does two things at once; so anything may fail in it, and what was done by
then is known. A *web* does many things at once; in it nothing fails for good, and nothing reads what another branch
may or may not have set by then. Races (a join that does not wait for all) are closed off: nobody reads what lost.

Every value is a number or a list of numbers, written so that ``graph_reference`` can read it as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from crewmesh_contracts.base import JsonObject, JsonValue
from hypothesis import strategies as st

# What the far side does with an effect, by the last part of its address.
FINE, FLAKY, DOWN, REFUSED = "fine", "flaky", "down", "refused"
FLAKY_FAILURES = 2
ATTEMPTS = 4
# Nodes whose part in a race may be over, cancelled or never begun.
RACER = "racer"
# How many nodes a graph has, by how many levels there are below it.
_SIZES = {2: st.integers(2, 6), 1: st.integers(1, 3), 0: st.integers(1, 2)}


@dataclass(frozen=True, slots=True)
class Case:
    definition: JsonObject
    data: JsonObject


@dataclass(frozen=True, slots=True)
class _Place:
    """What may be written where a graph stands. ``reads``: expressions that are there for sure, or have a default."""

    depth: int
    line: bool
    may_end_run: bool
    may_set: bool
    reads: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    """A graph in the making. ``known``: what a node may read of those before it; ``free``: ports without an edge."""

    place: _Place
    nodes: list[JsonValue] = field(default_factory=list[JsonValue])
    edges: list[JsonValue] = field(default_factory=list[JsonValue])
    ports: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    known: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def connect(self, port: tuple[str, str], to: str) -> None:
        self.edges.append({"from": port[0], "port": port[1], "to": to})


@st.composite
def cases(draw: st.DrawFn) -> Case:
    line = draw(st.booleans())
    place = _Place(
        depth=2,
        line=line,
        may_end_run=line,
        may_set=line,
        reads=("trigger.data.number", "trigger.data.missing"),
        conditions=("trigger.data.yes", "trigger.data.number > 5"),
    )
    names = (f"n{number}" for number in count())
    definition: JsonObject = {"name": "Random", **draw(_graphs(place, names))}
    if line and draw(st.booleans()):
        apart = replace(place, depth=0, may_end_run=False)
        definition["on_failure"] = draw(_graphs(apart, names))
    data: JsonObject = {
        "yes": draw(st.booleans()),
        "number": draw(st.integers(0, 9)),
        "items": [*draw(st.lists(st.integers(0, 9), max_size=3))],
    }
    return Case(definition, data)


@st.composite
def _graphs(draw: st.DrawFn, place: _Place, names: Iterator[str]) -> JsonObject:
    draft = _Draft(place)
    for _ in range(draw(_SIZES[place.depth])):
        if not place.line and draw(st.integers(0, 5)) == 0:
            _add_race(draw, draft, names)
        else:
            _add_node(draw, draft, next(names))
            # A body is drawn with its node, so its names come in between; that is fine, they only must differ.
            _fill_body(draw, draft, names)
    _lead_somewhere(draft, names)
    last = draft.known[next(reversed(draft.known))] if draft.known else ()
    outputs = sorted({read for reads in draft.known.values() for read in reads} - set(place.reads))
    output: JsonObject = {f"o{number}": _template(read) for number, read in enumerate(outputs)}
    output["o"] = _template(last[-1]) if last else 0
    return {"nodes": draft.nodes, "edges": draft.edges, "output": output}


def _lead_somewhere(draft: _Draft, names: Iterator[str]) -> None:
    """A parallel whose ways all end in nothing is refused when it is saved."""
    begun = {str(edge["from"]) for edge in draft.edges if isinstance(edge, dict)}
    for node in list(draft.nodes):
        if isinstance(node, dict) and node["kind"] == "parallel" and node["id"] not in begun:
            end = next(names)
            draft.nodes.append({"id": end, "kind": "transform", "output": {}})
            draft.connect((str(node["id"]), "left"), end)


def _add_node(draw: st.DrawFn, draft: _Draft, name: str) -> None:
    reads = _connect(draw, draft, name)
    place = replace(draft.place, reads=reads)
    kind = draw(st.sampled_from(_kinds(draft.place)))
    node = draw(_NODES[kind](place, name))
    draft.nodes.append(node)
    own = _OUTPUTS[kind].format(name=name) if kind in _OUTPUTS else None
    draft.known[name] = (*reads, own) if own else reads
    draft.ports += [(name, port) for port in _ports(node)]


def _kinds(place: _Place) -> list[str]:
    kinds = ["effect"] * 5 + ["transform", "if", "switch"]
    kinds += ["set"] if place.may_set else []
    kinds += [] if place.line else ["parallel", "join"]
    return kinds + (["for_each", "for_each", "while"] if place.depth else [])


def _connect(draw: st.DrawFn, draft: _Draft, name: str) -> tuple[str, ...]:
    """Edges from earlier nodes to this one; gives what it may read."""
    if not draft.ports:
        return draft.place.reads
    fewest = 1 if draft.place.line else 0
    chosen = draw(st.lists(st.sampled_from(draft.ports), min_size=fewest, max_size=2, unique=True))
    for port in chosen:
        draft.connect(port, name)
        if draft.place.line:  # a port with two edges would do two things at once
            draft.ports.remove(port)
    reads = (read for node, _ in chosen for read in draft.known[node])
    return tuple(dict.fromkeys((*draft.place.reads, *reads)))


def _add_race(draw: st.DrawFn, draft: _Draft, names: Iterator[str]) -> None:
    """Several ways that only lead to a join, which does not wait for all of them."""
    start, meet = next(names), next(names)
    reads = _connect(draw, draft, start)
    ways = [f"way{number}" for number in range(draw(st.integers(2, 3)))]
    draft.nodes.append({"id": start, "kind": "parallel", "branches": [*ways]})
    for way in ways:
        before = (start, way)
        for _ in range(draw(st.integers(1, 2))):
            racer = f"{RACER}-{next(names)}"
            node = _effect(racer, draw(st.sampled_from([FINE, FLAKY])), 1)
            if draw(st.booleans()):  # then it comes to its end also where it loses
                node["compensate"] = {"do": _effect(racer, FINE, _template(f"steps.{racer}.output.body.v"))}
            draft.nodes.append(node)
            draft.connect(before, racer)
            before = (racer, "out")
        draft.connect(before, meet)
    enough = draw(st.integers(1, len(ways)))
    how: JsonObject = {"mode": "any"} if enough == 1 else {"mode": "count", "count": enough}
    draft.nodes.append({"id": meet, "kind": "join", **how})
    draft.known[meet] = reads
    draft.ports.append((meet, "out"))


def _fill_body(draw: st.DrawFn, draft: _Draft, names: Iterator[str]) -> None:
    holder = draft.nodes[-1]
    assert isinstance(holder, dict)
    if holder["kind"] == "for_each":
        reads, conditions = ("item", "index"), ("item > 4", "index % 2 == 0")
    elif holder["kind"] == "while":
        reads, conditions = ("index", "last.o"), ("index % 2 == 0",)
    else:
        return
    outer = draft.place
    seen = tuple(read for read in draft.known[str(holder["id"])] if not read.startswith(f"steps.{holder['id']}."))
    one_at_a_time = holder.get("concurrency", 1) == 1
    # An item may fail alone, whatever goes on beside it; but then its own steps must come one after the other.
    alone = holder.get("on_item_error") == "continue"
    place = replace(
        outer,
        depth=outer.depth - 1,
        line=outer.line or alone,
        may_end_run=outer.may_end_run or alone,
        may_set=outer.may_set and one_at_a_time,
        reads=(*(read for read in seen if read not in ("item", "index", "last.o")), *reads),
        conditions=("trigger.data.yes", *conditions),
    )
    holder["body"] = draw(_graphs(place, names))


@st.composite
def _effects(draw: st.DrawFn, place: _Place, name: str) -> JsonObject:
    far_side = draw(st.sampled_from([FINE, FINE, FINE, FLAKY, DOWN, REFUSED]))
    node = _effect(name, far_side, draw(_values(place)))
    if far_side in (DOWN, REFUSED):
        goes_on = draw(st.sampled_from(["continue", "handle"]))
        node["on_error"] = draw(st.sampled_from(["fail", goes_on])) if place.may_end_run else goes_on
    if place.line and draw(st.integers(0, 3)):
        undo = _effect(name, FINE, _template(f"steps.{name}.output.body.v"))
        node["compensate"] = {"do": undo}
    return node


def _effect(name: str, far_side: str, number: JsonValue) -> JsonObject:
    # Retries come at once: how long a wait takes is another test's concern.
    retry: JsonObject = {"attempts": ATTEMPTS, "backoff_seconds": 0.001, "longest_seconds": 0.001}
    return {
        "id": name,
        "kind": "http",
        "url": f"http://table.invalid/{far_side}",
        "body": {"number": number},
        "retry": retry,
    }


@st.composite
def _transforms(draw: st.DrawFn, place: _Place, name: str) -> JsonObject:
    return {"id": name, "kind": "transform", "output": {"v": draw(_values(place))}}


@st.composite
def _sets(draw: st.DrawFn, place: _Place, name: str) -> JsonObject:
    value = draw(st.one_of(_values(place), st.sampled_from(["vars.a", "vars.b"]).map(_template)))
    return {"id": name, "kind": "set", "variables": {draw(st.sampled_from(["a", "b"])): value}}


@st.composite
def _ifs(draw: st.DrawFn, place: _Place, name: str) -> JsonObject:
    return {"id": name, "kind": "if", "condition": draw(st.sampled_from(place.conditions))}


@st.composite
def _switches(draw: st.DrawFn, place: _Place, name: str) -> JsonObject:
    conditions = draw(st.lists(st.sampled_from(place.conditions), min_size=1, max_size=2))
    cases: list[JsonValue] = [{"port": f"case{n}", "condition": each} for n, each in enumerate(conditions)]
    return {"id": name, "kind": "switch", "cases": cases}


def _parallels(_place: _Place, name: str) -> st.SearchStrategy[JsonObject]:
    return st.just({"id": name, "kind": "parallel", "branches": ["left", "right"]})


def _joins(_place: _Place, name: str) -> st.SearchStrategy[JsonObject]:
    return st.just({"id": name, "kind": "join"})


@st.composite
def _for_eaches(draw: st.DrawFn, place: _Place, name: str) -> JsonObject:
    fixed: st.SearchStrategy[JsonValue] = st.lists(st.integers(0, 9), max_size=3).map(lambda items: [*items])
    node: JsonObject = {"id": name, "kind": "for_each"}
    node["items"] = draw(st.one_of(fixed, st.just("{{ trigger.data.items }}")))
    node["concurrency"] = 1 if place.line else draw(st.integers(1, 4))
    node["on_item_error"] = draw(st.sampled_from(["fail", "continue"]))
    return node


@st.composite
def _whiles(draw: st.DrawFn, _place: _Place, name: str) -> JsonObject:
    return {"id": name, "kind": "while", "condition": f"index < {draw(st.integers(0, 3))}", "max_iterations": 5}


_NODES = {
    "effect": _effects,
    "transform": _transforms,
    "set": _sets,
    "if": _ifs,
    "switch": _switches,
    "parallel": _parallels,
    "join": _joins,
    "for_each": _for_eaches,
    "while": _whiles,
}
# What of a step later ones read.
_OUTPUTS = {
    "effect": "steps.{name}.output.body.v",
    "transform": "steps.{name}.output.v",
    "if": "steps.{name}.output.result",
    "switch": "steps.{name}.output.case",
    "for_each": "steps.{name}.output.items",
    "while": "steps.{name}.output.last",
}


@st.composite
def _values(draw: st.DrawFn, place: _Place) -> JsonValue:
    if place.reads and draw(st.booleans()):
        return _template(draw(st.sampled_from(place.reads)))
    return draw(st.integers(0, 99))


def _template(read: str) -> str:
    return f"{{{{ {read} ?? 0 }}}}"


def _ports(node: JsonObject) -> list[str]:
    match node["kind"]:
        case "if":
            return ["true", "false"]
        case "switch":
            cases = node["cases"]
            assert isinstance(cases, list)
            return [*(f"case{number}" for number in range(len(cases))), "default"]
        case "parallel":
            return ["left", "right"]
        case "http" if node.get("on_error") == "handle":
            return ["out", "error"]
        case _:
            return ["out"]
