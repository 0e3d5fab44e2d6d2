"""Finding the node that a path names."""

from __future__ import annotations

import re

from crewmesh_workflow.nodes.base import Each, Repeat
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode, Program

UNDO = "!undo"
HANDLER = "!failure."
_ROUND = re.compile(r"\[\d+\]$")


def node_at(program: Program, path: str) -> CompiledNode | None:
    """The node, or the compensation, at ``loop[3].node``, ``node!undo``, ``!failure.node``."""
    undo = path.endswith(UNDO)
    rest = path.removesuffix(UNDO)
    graph: CompiledGraph | None = program.main
    if rest.startswith(HANDLER):
        graph, rest = program.on_failure, rest.removeprefix(HANDLER)
    node: CompiledNode | None = None
    for segment in rest.split("."):
        node = None if graph is None else graph.by_id.get(_ROUND.sub("", segment))
        if node is None:
            return None
        graph = node.does.body if isinstance(node.does, Each | Repeat) else None
    return node.undo if undo and node is not None else node


def kind_at(program: Program, path: str) -> str:
    node = node_at(program, path)
    kind: object = None if node is None else getattr(node.node, "kind", None)
    return str(kind or "")
