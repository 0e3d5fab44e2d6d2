"""Repeat a body as long as a condition is true, and never for ever."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonObject, Reply
from crewmesh_contracts.workflow.graph import Graph
from crewmesh_contracts.workflow.nodes.base import Condition, NodeBase


class WhileOutput(Reply):
    iterations: int
    last: JsonObject | None


class WhileNode(NodeBase):
    """The condition is looked at before every round; it and the body read ``index`` and ``last``, the output before.

    Output: ``iterations`` and ``last``. When the condition is still true after ``max_iterations``, the node fails.
    """

    Output: ClassVar = WhileOutput

    kind: Literal["while"]
    condition: Condition
    body: Graph
    max_iterations: Annotated[int, Field(ge=1, le=10_000)] = 100
