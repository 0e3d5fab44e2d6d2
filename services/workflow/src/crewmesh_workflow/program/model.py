"""A definition made ready to run: graphs whose nodes stand in an order that respects the edges, all compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow import Definition, Edge
from crewmesh_contracts.workflow.nodes.base import NodeBase

from crewmesh_workflow.expressions import Condition, Scope, Template

if TYPE_CHECKING:  # a behaviour may hold a graph, and a graph holds behaviours
    from crewmesh_workflow.nodes.base import Behaviour


@dataclass(frozen=True, slots=True, eq=False)
class CompiledNode:
    """``only_before`` (of a join): the nodes that lead nowhere but here. ``undo``: the compensation, if it has one."""

    id: str
    position: int
    node: NodeBase
    incoming: tuple[Edge, ...]
    outgoing: tuple[Edge, ...]
    does: Behaviour
    undo: CompiledNode | None = None
    only_before: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class CompiledGraph:
    nodes: tuple[CompiledNode, ...]
    by_id: dict[str, CompiledNode]
    output: Template

    def render_output(self, scope: Scope) -> JsonObject:
        output = self.output.value(scope)
        return output if isinstance(output, dict) else {}


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule of the workflow's approval policy; ``number`` is its place in settings.approval_rules."""

    number: int
    when: Condition


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    definition: Definition
    main: CompiledGraph
    on_failure: CompiledGraph | None
    rules: tuple[CompiledRule, ...]
