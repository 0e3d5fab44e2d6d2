"""A definition made ready to run: nodes in an order that respects the edges, every expression compiled.

Compiling finds all mistakes at once, each with its node and path; saving a definition compiles it for just that. What
came out of the database was compiled before it was saved, so programs are cached by workflow and version.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition, Edge, Node
from crewmesh_contracts.workflow.nodes import IfNode

from crewmesh_workflow.expressions import Condition, ExpressionError, Scope, Template, compile_template
from crewmesh_workflow.nodes.base import CompiledEffect, EffectKinds

# A large output is replaced by {"$blob": hash} in the journal; nobody else may write something of that shape there.
BLOB_KEY = "$blob"


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in a definition, and where."""

    path: str
    message: str


class InvalidDefinitionError(ValueError):
    """All mistakes of a definition."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(f"{mistake.path}: {mistake.message}" for mistake in self.mistakes))


@dataclass(frozen=True, slots=True)
class Decision:
    """A node that is decided where it stands, without an effect."""

    condition: Condition

    def decide(self, scope: Scope) -> tuple[str, JsonObject]:
        """The port that is taken, and the output."""
        result = self.condition.evaluate(scope)
        return ("true" if result else "false"), {"result": result}


@dataclass(frozen=True, slots=True)
class CompiledNode:
    id: str
    position: int
    node: Node
    incoming: tuple[Edge, ...]
    does: Decision | CompiledEffect


@dataclass(frozen=True, slots=True)
class Program:
    nodes: tuple[CompiledNode, ...]
    by_id: dict[str, CompiledNode]
    output: Template

    def position(self, node: str) -> int:
        return self.by_id[node].position

    def render_output(self, scope: Scope) -> JsonObject:
        output = self.output.value(scope)
        return output if isinstance(output, dict) else {}


def compile_program(definition: Definition, kinds: EffectKinds) -> Program:
    """The program, or InvalidDefinitionError with every mistake."""
    nodes = {node.id: node for node in definition.nodes}
    incoming = {id_: tuple(edge for edge in definition.edges if edge.to == id_) for id_ in nodes}
    order = _in_order(incoming)
    upstream = _upstream(order, incoming)
    mistakes: list[Mistake] = []
    compiled: list[CompiledNode] = []
    for position, id_ in enumerate(order):
        reader = _Reader(f"nodes.{id_}", frozenset(nodes), upstream[id_], mistakes)
        does = _compile_node(nodes[id_], reader, kinds)
        compiled.append(CompiledNode(id_, position, nodes[id_], incoming[id_], does))
    reader = _Reader("", frozenset(nodes), frozenset(nodes), mistakes)
    output = reader.template("output", definition.output)
    if BLOB_KEY in definition.output:
        mistakes.append(Mistake(f"output.{BLOB_KEY}", "this name is reserved; choose another one"))
    if mistakes:
        raise InvalidDefinitionError(mistakes)
    return Program(tuple(compiled), {node.id: node for node in compiled}, output)


def _compile_node(node: Node, reader: _Reader, kinds: EffectKinds) -> Decision | CompiledEffect:
    if isinstance(node, IfNode):
        return Decision(reader.condition("condition", node.condition))
    return kinds.bind(node, reader)


def _in_order(incoming: dict[str, tuple[Edge, ...]]) -> tuple[str, ...]:
    """Nodes such that each comes after all before it; among equals as they stand in the definition."""
    waiting = {id_: {edge.from_ for edge in edges} for id_, edges in incoming.items()}
    order: list[str] = []
    while waiting:
        free = [id_ for id_, before in waiting.items() if not before]
        for id_ in free:
            del waiting[id_]
        for before in waiting.values():
            before.difference_update(free)
        order += free
    return tuple(order)


def _upstream(order: tuple[str, ...], incoming: dict[str, tuple[Edge, ...]]) -> dict[str, frozenset[str]]:
    """For each node, every node from which an edge path leads to it."""
    upstream: dict[str, frozenset[str]] = {}
    for id_ in order:
        direct = {edge.from_ for edge in incoming[id_]}
        upstream[id_] = frozenset(direct).union(*(upstream[before] for before in direct))
    return upstream


_NOTHING = compile_template(None)
_NEVER = Condition.compile("false")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Compiles the expressions of one node and collects what is wrong with them."""

    place: str
    nodes: frozenset[str]
    upstream: frozenset[str]
    mistakes: list[Mistake] = field(default_factory=list[Mistake])

    def template(self, path: str, value: JsonValue) -> Template:
        try:
            template = compile_template(value)
        except ExpressionError as error:
            self._mistake(path, str(error))
            return _NOTHING
        self._check_steps(path, (reference.step for reference in template.paths()))
        return template

    def condition(self, path: str, source: str) -> Condition:
        try:
            condition = Condition.compile(source)
        except ExpressionError as error:
            self._mistake(path, str(error))
            return _NEVER
        self._check_steps(path, condition.step_names())
        return condition

    def _check_steps(self, path: str, steps: Iterable[str | None]) -> None:
        for step in sorted({step for step in steps if step is not None}):
            if step not in self.nodes:
                self._mistake(path, f"there is no step {step!r}")
            elif step not in self.upstream:
                self._mistake(path, f"step {step!r} does not come before this one; connect them by an edge")

    def _mistake(self, path: str, message: str) -> None:
        self.mistakes.append(Mistake(f"{self.place}.{path}" if self.place else path, message))
