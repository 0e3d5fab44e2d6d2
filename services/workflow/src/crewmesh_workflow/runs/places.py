"""Where steps are: what the paths of a run's steps say by themselves.

``node`` is a step of the workflow itself, ``loop[3].node`` one in the fourth round of a loop, ``node!undo`` what undid
a step, and ``!failure.node`` a step of the failure handler.
"""

from __future__ import annotations

import re

from crewmesh_workflow.engine.places import UNDO

_TOP = re.compile(r"[^\[.!]*")


def top_of(path: str) -> str:
    """The step of the workflow itself that the path is in; empty for the failure handler."""
    match = _TOP.match(path)
    return match.group() if match else ""


def is_top(path: str) -> bool:
    return path == top_of(path)


def is_undo(path: str) -> bool:
    return path.endswith(UNDO)


def node_name(path: str) -> str:
    """The id of the node that stands there."""
    return path.removesuffix(UNDO).rpartition(".")[2]
