"""Where steps are: the paths of a run's steps, read.

``node`` is a step of the workflow itself, ``loop[3].node`` one in the fourth round of a loop, ``node!undo`` what undid
a step, and ``!failure.node`` a step of the failure handler.
"""

from __future__ import annotations

import re

from crewmesh_workflow.nodes.base import Each, Repeat
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode, Program

_UNDO = "!undo"
_FAILURE = "!failure."
_ROUND = re.compile(r"\[\d+\]")
_TOP = re.compile(r"[^\[.!]*")


def top_of(path: str) -> str:
    """The step of the workflow itself that the path is in; empty for the failure handler."""
    match = _TOP.match(path)
    return match.group() if match else ""


def is_top(path: str) -> bool:
    return path == top_of(path)


def is_undo(path: str) -> bool:
    return path.endswith(_UNDO)


def node_name(path: str) -> str:
    """The id of the node that stands there."""
    return path.removesuffix(_UNDO).rpartition(".")[2]


def node_at(program: Program, path: str) -> CompiledNode | None:
    """The node behind a path; of ``node!undo``, the one that undoes."""
    graph: CompiledGraph | None = program.on_failure if path.startswith(_FAILURE) else program.main
    ids = _ROUND.sub("", path.removeprefix(_FAILURE).removesuffix(_UNDO)).split(".")
    node: CompiledNode | None = None
    for id_ in ids:
        node = None if graph is None else graph.by_id.get(id_)
        graph = node.does.body if node is not None and isinstance(node.does, Each | Repeat) else None
    return node.undo if node is not None and is_undo(path) else node
