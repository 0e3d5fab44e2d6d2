"""A definition made ready to run, or every mistake in it.

Saving a definition compiles it, for just that; what comes out of the database was compiled before it was saved.
"""

from __future__ import annotations

from crewmesh_contracts.workflow import Definition, Graph
from crewmesh_contracts.workflow.nodes.base import EffectNode, NodeBase
from crewmesh_contracts.workflow.nodes.join import JoinNode

from crewmesh_workflow.nodes.base import NodeKinds
from crewmesh_workflow.program.errors import Mistakes
from crewmesh_workflow.program.graphs import Structure, structure
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode, CompiledRule, Program
from crewmesh_workflow.program.reader import PlaceReader
from crewmesh_workflow.program.sight import Sight

# A large output is replaced by {"$blob": hash} in the journal; nobody else may write something of that shape there.
BLOB_KEY = "$blob"


def compile_program(definition: Definition, kinds: NodeKinds) -> Program:
    """The program, or InvalidDefinitionError with every mistake."""
    return _Compiler(definition, kinds).program()


class _Compiler:
    def __init__(self, definition: Definition, kinds: NodeKinds) -> None:
        self._definition = definition
        self._kinds = kinds
        self._mistakes = Mistakes()

    def program(self) -> Program:
        definition = self._definition
        main = self._graph("", definition, Sight())
        failure = definition.on_failure
        after = Sight(steps={node.id: node for node in definition.nodes}).reading("error")
        on_failure = None if failure is None else self._graph("on_failure.", failure, after)
        rules = self._rules()
        self._mistakes.refuse()
        return Program(definition, main, on_failure, rules)

    def _rules(self) -> tuple[CompiledRule, ...]:
        reader = self._reader("settings.approval_rules.", Sight().reading("node", "input"))
        return tuple(
            CompiledRule(number, reader.condition(f"{number}.when", rule.when))
            for number, rule in enumerate(self._definition.settings.approval_rules)
        )

    def _reader(self, place: str, sight: Sight) -> PlaceReader:
        return PlaceReader(place, sight, self._mistakes, self._graph)

    def _graph(self, place: str, graph: Graph, sight: Sight) -> CompiledGraph:
        shape = structure(graph, place, self._mistakes)
        nodes = tuple(self._node(place, shape, id_, position, sight) for position, id_ in enumerate(shape.nodes))
        everything = Sight(sight.roots, {**sight.steps, **shape.nodes}, sight.beside)
        output = self._reader(place, everything).template("output", graph.output)
        return CompiledGraph(nodes, {node.id: node for node in nodes}, output)

    def _node(self, place: str, shape: Structure, id_: str, position: int, sight: Sight) -> CompiledNode:
        node = shape.nodes[id_]
        before = {name: shape.nodes[name] for name in shape.before[id_]}
        here = Sight(sight.roots, {**sight.steps, **before}, sight.beside.union(shape.nodes))
        return CompiledNode(
            id=id_,
            position=position,
            node=node,
            incoming=shape.incoming[id_],
            outgoing=shape.outgoing[id_],
            does=self._kinds.bind(node, self._reader(f"{place}nodes.{id_}.", here)),
            undo=self._undo(f"{place}nodes.{id_}.compensate.do.", node, position, here),
            only_before=shape.only_before(id_) if isinstance(node, JoinNode) else frozenset(),
        )

    def _undo(self, place: str, node: NodeBase, position: int, sight: Sight) -> CompiledNode | None:
        if not isinstance(node, EffectNode) or node.compensate is None:
            return None
        undoing = node.compensate.do
        if isinstance(undoing, EffectNode) and undoing.compensate is not None:
            self._mistakes.add(f"{place}compensate", "what undoes a step is not undone itself; remove this")
        here = Sight(sight.roots, {**sight.steps, node.id: node}, sight.beside)
        does = self._kinds.bind(undoing, self._reader(place, here))
        return CompiledNode(node.id, position, undoing, (), (), does)
