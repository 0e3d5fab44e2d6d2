"""What can be told of a condition's parts: their kinds, and where two of them can never come together.

Before a run nothing is known of the data, so that only what is wrong whatever comes is found. After a condition had no
value, the same look with the data in hand tells why, in words that the library does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.cel_tree import Node
from crewmesh_workflow.expressions.cel_words import called, chosen, compared, of_nothing
from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.signatures import FUNCTIONS, OPERATORS, Signature

_LOOKED_AT = 100
_PROBES = {"matches": '"".matches({})', "getHours": 'timestamp("2000-01-01T00:00:00Z").getHours({})'}
_CONSTANT = ("literal", "list", "map", "index", "operator", "choice", "call", "method", "each")


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a part. No ``kind``: it can be anything. ``values`` holds its value where there is data."""

    kind: str | None = None
    values: tuple[JsonValue, ...] = ()


def look(node: Node, data: Mapping[str, JsonValue]) -> str | None:
    """The kind of what comes out, if it can be told. Raises ExpressionError for what can have no value."""
    return _Look({name: _of(value) for name, value in data.items()}).found(node).kind


def refuse_constants(node: Node, run: Callable[[str], object]) -> None:
    """Raises what ``run`` does for parts that are written out and have no value: no data can change that."""
    if _constant(node):
        run(node.text)
        return
    for part in node.parts:
        refuse_constants(part, run)
    probe = _PROBES.get("getHours" if node.name.startswith("get") else node.name)
    if node.form in ("call", "method") and probe is not None and len(node.parts) == 2 and _constant(node.parts[1]):
        run(probe.format(node.parts[1].text))


def _constant(node: Node, bound: frozenset[str] = frozenset()) -> bool:
    """``bound``: what comprehensions around it give is as constant as what they go over."""
    if node.form == "name":
        return node.name in bound
    inner = bound | {node.bound}
    return node.form in _CONSTANT and all(_constant(part, inner) for part in node.parts)


def _of(value: JsonValue) -> Found:
    if isinstance(value, bool):
        return Found("bool", (value,))
    if isinstance(value, int):
        kind = "int" if -(2**63) <= value < 2**63 else "uint" if 0 <= value < 2**64 else "double"
        return Found(kind, (value,))
    kinds: dict[type, str] = {float: "double", str: "string", list: "list", dict: "map"}
    return Found(kinds.get(type(value), "null"), (value,))


class _Look:
    def __init__(self, names: Mapping[str, Found]) -> None:
        self._names = names

    def found(self, node: Node) -> Found:
        match node.form:
            case "literal":
                return Found(node.name)
            case "name":
                return self._names.get(node.name, Found())
            case "select" | "index" | "choice" | "each":
                return self._taken(node)
            case "operator":
                return self._fitting(node, OPERATORS[node.name], compared)
            case "call" | "method":
                own = [each for each in FUNCTIONS.get(node.name, ()) if each.method == (node.form == "method")]
                return self._fitting(node, own, called)
            case _:
                for part in node.parts:
                    self.found(part)
                return Found("bool" if node.form == "has" else node.form)

    def _taken(self, node: Node) -> Found:
        if node.form == "select":
            return self._select(node)
        if node.form == "index":
            return self._index(node)
        return self._choice(node) if node.form == "choice" else self._each(node)

    def _select(self, node: Node) -> Found:
        held = self.found(node.parts[0])
        if held.kind not in (None, "map"):
            raise ExpressionError(of_nothing(node, held.kind))
        value = held.values[0] if held.values else None
        return _of(value[node.name]) if isinstance(value, dict) and node.name in value else Found()

    def _index(self, node: Node) -> Found:
        held, key = (self.found(part) for part in node.parts)
        if held.kind not in (None, "map", "list") or (held.kind == "list" and key.kind not in (None, "int", "uint")):
            raise ExpressionError(of_nothing(node, held.kind))
        value = held.values[0] if held.values else None
        written = node.parts[1].text
        if isinstance(value, list) and written.isdecimal() and int(written) < len(value):
            return _of(value[int(written)])
        return Found()

    def _each(self, node: Node) -> Found:
        over = self.found(node.parts[0])
        if over.kind not in (None, "list", "map"):
            raise ExpressionError(of_nothing(node, over.kind))
        held = over.values[0] if over.values else None
        bounds = [_of(value) for value in [*held][:_LOOKED_AT]] if isinstance(held, (list, dict)) else [Found()]
        asked = [*node.parts[1:]]
        for bound in bounds:
            inner = _Look({**self._names, node.bound: bound})
            first, *_ = [inner.found(part).kind for part in asked]
            if (node.name != "map" or len(asked) > 1) and first not in (None, "bool"):
                raise ExpressionError(chosen(node, asked[0], first))
        return Found("list" if node.name in ("filter", "map") else "bool")

    def _choice(self, node: Node) -> Found:
        asked, *ways = (self.found(part).kind for part in node.parts)
        if asked not in (None, "bool"):
            raise ExpressionError(chosen(node, node.parts[0], asked))
        return Found(ways[0] if ways[0] == ways[1] else None)

    def _fitting(
        self, node: Node, known: Iterable[Signature], wrong: Callable[[Node, tuple[str | None, ...]], str]
    ) -> Found:
        kinds = tuple(self.found(part).kind for part in node.parts)
        fitting = [each.gives for each in known if each.fits(kinds)]
        if not fitting:
            raise ExpressionError(wrong(node, kinds))
        return Found(fitting[0] if len({*fitting}) == 1 else None)
