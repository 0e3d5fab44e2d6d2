"""A definition made ready to run, or every mistake in it.

Saving a definition compiles it, for just that; what comes out of the database was compiled before it was saved. It is
not judged again by what can only fail when it runs (see ``Mistakes``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from crewmesh_contracts.workflow import Definition, Graph
from crewmesh_contracts.workflow.nodes.base import EffectNode, NodeBase
from crewmesh_contracts.workflow.nodes.delay import DelayNode
from crewmesh_contracts.workflow.nodes.for_each import ForEachNode
from crewmesh_contracts.workflow.nodes.join import JoinNode
from crewmesh_contracts.workflow.nodes.set_ import SetNode
from crewmesh_contracts.workflow.triggers.event import EventTrigger

from crewmesh_workflow.nodes.base import NodeKinds
from crewmesh_workflow.nodes.people import check_each_once, check_quorum
from crewmesh_workflow.program.connections import check_connections
from crewmesh_workflow.program.errors import Mistakes
from crewmesh_workflow.program.graphs import Structure, structure
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode, CompiledRule, Program
from crewmesh_workflow.program.outputs import output_of
from crewmesh_workflow.program.reader import NOTHING, PlaceReader
from crewmesh_workflow.program.shapes import ANYTHING, LIST, NUMBER, TEXT, Shape, object_of, scalar
from crewmesh_workflow.program.sight import RUN, Sight, not_before
from crewmesh_workflow.program.unread import NOTHING_UNREAD, Unread
from crewmesh_workflow.program.whole import (
    BLOB_KEY,
    MAX_LEVELS,
    MAX_NODES,
    check_schemas,
    check_whole,
    count_nodes,
    inner_graphs,
)

__all__ = ["BLOB_KEY", "compile_program"]

# What some fields must become, where that can be seen before any run.
_WANTED: Mapping[type[NodeBase], Mapping[str, frozenset[str]]] = {
    ForEachNode: {"items": frozenset({LIST})},
    DelayNode: {"seconds": frozenset({NUMBER, TEXT}), "until": frozenset({TEXT})},
}


def compile_program(
    definition: Definition, kinds: NodeKinds, unread: Unread = NOTHING_UNREAD, *, stored: bool = False
) -> Program:
    """The program, or InvalidDefinitionError with every mistake but those that only follow from what is ``unread``.

    ``stored``: it was saved before.
    """
    mistakes = Mistakes(stored=stored)
    count = count_nodes(definition, definition.on_failure)
    if count > MAX_NODES:
        mistakes.add(
            "nodes", f"there are {count} nodes in all; at most {MAX_NODES} are possible, so split the workflow"
        )
        mistakes.refuse()
    check_whole(definition, unread.document, mistakes)
    program = _Compiler(definition, kinds, mistakes, unread).program()
    mistakes.refuse()
    return program


@dataclass(frozen=True, slots=True)
class _Around:
    """What a graph stands in: how deep it is, and the ids of the graphs around it."""

    level: int = 0
    ids: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Compiler:
    definition: Definition
    kinds: NodeKinds
    mistakes: Mistakes
    unread: Unread
    seen: set[str] = field(default_factory=set[str])
    shapes: list[tuple[str, Structure]] = field(default_factory=list[tuple[str, Structure]])

    def program(self) -> Program:
        definition = self.definition
        sight = Sight(self._roots())
        main = self._graph("", definition, sight, _Around())
        done = replace(sight, steps=self._outputs("", definition.nodes), more=self.unread.at("nodes"))
        ids = frozenset(node.id for node in definition.nodes)
        failure = definition.on_failure
        on_failure = None
        if failure is not None:
            on_failure = self._graph("on_failure.", failure, done.reading("error"), _Around(ids=ids))
        rules = tuple(self._rules(done))
        self._filters(sight)
        for place, shape in self.shapes:
            if shape.whole:
                check_connections(shape, None if self.unread.expressions else self.seen, place, self.mistakes)
        return Program(definition, main, on_failure, rules)

    def _roots(self) -> dict[str, Shape]:
        definition = self.definition
        constants = {name: scalar(TEXT) for name in definition.env}
        set_somewhere = dict.fromkeys(_variables(definition, definition.on_failure), ANYTHING)
        env = object_of(None if self.unread.at("env") else constants)
        variables = object_of(None if self.unread.variables else set_somewhere)
        return {"trigger": ANYTHING, "steps": ANYTHING, "vars": variables, "env": env, "run": RUN}

    def _rules(self, sight: Sight) -> Iterator[CompiledRule]:
        reader = self._reader("settings.approval_rules.", sight.reading("node", "input"), _Around())
        for number, rule in enumerate(self.definition.settings.approval_rules):
            reader.written(f"{number}.assignees", rule.assignees, check_each_once)
            reader.written(f"{number}.quorum", rule.quorum, partial(check_quorum, assignees=rule.assignees))
            yield CompiledRule(number, reader.condition(f"{number}.when", rule.when))

    def _filters(self, sight: Sight) -> None:
        reader = self._reader("triggers.", sight.only("event"), _Around())
        for number, trigger in enumerate(self.definition.triggers):
            if isinstance(trigger, EventTrigger) and trigger.filter is not None:
                reader.condition(f"{number}.filter", trigger.filter)

    def _reader(self, place: str, sight: Sight, around: _Around, node: NodeBase | None = None) -> PlaceReader:
        nested = partial(self._graph, around=around)
        wanted = None if node is None else _WANTED.get(type(node))
        return PlaceReader(place, sight, self.mistakes, self.seen, nested, wanted or {})

    def _graph(self, place: str, graph: Graph, sight: Sight, around: _Around) -> CompiledGraph:
        if around.level > MAX_LEVELS:
            path = place.removesuffix(".")
            self.mistakes.add(path, f"bodies are nested more than {MAX_LEVELS} deep; use a sub-workflow instead")
            return CompiledGraph((), {}, NOTHING)
        shape = structure(graph, place, self.mistakes, self.unread)
        sight = replace(sight, more=sight.more or self.unread.at(f"{place}nodes"))
        for id_ in sorted(around.ids.intersection(shape.nodes)):
            self.mistakes.add(f"{place}nodes.{id_}", f"there is a step {id_!r} around this graph; choose another id")
        inside = _Around(around.level + 1, around.ids.union(shape.nodes))
        outputs = self._outputs(place, shape.nodes.values())
        hidden = {**sight.beside, **dict(_inner_steps(graph))}
        beside = {**hidden, **{id_: not_before(id_) for id_ in shape.nodes}}
        nodes = tuple(
            self._node(place, shape, id_, position, _see(sight, shape, id_, outputs, beside), inside)
            for position, id_ in enumerate(shape.nodes)
        )
        everything = replace(sight, steps={**sight.steps, **outputs}, beside=hidden)
        output = self._reader(place, everything, around).template("output", graph.output)
        self.shapes.append((place, shape))
        return CompiledGraph(nodes, {node.id: node for node in nodes}, output)

    def _node(
        self, place: str, shape: Structure, id_: str, position: int, sight: Sight, inside: _Around
    ) -> CompiledNode:
        node = shape.nodes[id_]
        here = f"{place}nodes.{id_}."
        check_schemas(node, here, self.mistakes)
        return CompiledNode(
            id=id_,
            position=position,
            node=node,
            incoming=shape.incoming[id_],
            outgoing=shape.outgoing[id_],
            does=self.kinds.bind(node, self._reader(here, sight, inside, node)),
            undo=self._undo(here, node, position, sight, inside),
            only_before=shape.only_before(id_) if isinstance(node, JoinNode) else frozenset(),
        )

    def _outputs(self, place: str, nodes: Iterable[NodeBase]) -> dict[str, Shape]:
        """What is known of the outputs of a graph's nodes, by their ids."""
        return {
            node.id: object_of(None) if self.unread.output(f"{place}nodes.{node.id}") else output_of(node)
            for node in nodes
        }

    def _undo(self, here: str, node: NodeBase, position: int, sight: Sight, inside: _Around) -> CompiledNode | None:
        if not isinstance(node, EffectNode) or node.compensate is None:
            return None
        place = f"{here}compensate.do."
        undoing = node.compensate.do
        if isinstance(undoing, EffectNode) and undoing.compensate is not None:
            self.mistakes.add(f"{place}compensate", "what undoes a step is not undone itself; remove this")
        seeing = replace(sight, steps={**sight.steps, node.id: output_of(node)})
        does = self.kinds.bind(undoing, self._reader(place, seeing, inside, undoing))
        return CompiledNode(node.id, position, undoing, (), (), does)


def _see(sight: Sight, shape: Structure, id_: str, outputs: Mapping[str, Shape], beside: Mapping[str, str]) -> Sight:
    """What a node sees: the steps before it, in its graph and around that."""
    known = shape.before[id_] if shape.whole else set(shape.nodes) - {id_}
    before = {name: outputs[name] for name in shape.nodes if name in known}
    return replace(sight, steps={**sight.steps, **before}, beside=beside)


def _inner_steps(graph: Graph) -> Iterator[tuple[str, str]]:
    """Steps inside of loops, and what can be read instead."""
    for node in graph.nodes:
        for _, inner in inner_graphs(node):
            for step in inner.nodes:
                yield (
                    step.id,
                    f"step {step.id!r} is inside of {node.id!r}; read what that gives: steps.{node.id}.output",
                )


def _variables(*graphs: Graph | None) -> Iterator[str]:
    """Every variable that some node sets."""
    waiting = [graph for graph in graphs if graph is not None]
    while waiting:
        for node in waiting.pop().nodes:
            waiting += [inner for _, inner in inner_graphs(node)]
            if isinstance(node, SetNode):
                yield from node.variables
