"""Which steps of a workflow ask models, so that what they used can be added up, and nothing is counted twice.

A step may well have somebody else's usage in its output: a transform that passes it on. So the kind decides.
"""

from __future__ import annotations

from collections.abc import Iterator

from crewmesh_contracts.workflow.nodes.agent import AgentNode
from crewmesh_contracts.workflow.nodes.crew import CrewNode
from crewmesh_contracts.workflow.nodes.llm import LlmNode

from crewmesh_workflow.engine.places import HANDLER, UNDO
from crewmesh_workflow.nodes.base import Each, Repeat
from crewmesh_workflow.program.model import CompiledGraph, Program

_ASKING = (LlmNode, AgentNode, CrewNode)


def places_that_ask_models(program: Program) -> list[str]:
    """Paths without the numbers of rounds."""
    places = [*_places(program.main, "")]
    if program.on_failure is not None:
        places += _places(program.on_failure, HANDLER)
    return places


def _places(graph: CompiledGraph, prefix: str) -> Iterator[str]:
    for node in graph.nodes:
        path = prefix + node.id
        if isinstance(node.node, _ASKING):
            yield path
        if node.undo is not None and isinstance(node.undo.node, _ASKING):
            yield path + UNDO
        if isinstance(node.does, Each | Repeat):
            yield from _places(node.does.body, f"{path}.")
