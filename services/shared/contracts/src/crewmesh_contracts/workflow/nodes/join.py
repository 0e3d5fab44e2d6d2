"""Wait for branches: for all of them, for the first, or for some."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from crewmesh_contracts.base import Reply
from crewmesh_contracts.workflow.nodes.base import NodeBase


class JoinOutput(Reply):
    arrived: list[str]


class JoinNode(NodeBase):
    """When enough branches have arrived, what only leads here and is not done yet is cancelled.

    Output: ``arrived``, the nodes whose edges into the join were taken by then.
    """

    Output: ClassVar = JoinOutput

    kind: Literal["join"]
    mode: Literal["all", "any", "count"] = "all"
    count: Annotated[int | None, Field(ge=1, le=50, description="For mode count: how many branches.")] = None

    @model_validator(mode="after")
    def _count_belongs_to_its_mode(self) -> JoinNode:
        if (self.mode == "count") != (self.count is not None):
            raise ValueError("count belongs to mode: count, and that needs it")
        return self
