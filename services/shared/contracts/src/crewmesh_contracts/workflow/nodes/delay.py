"""Wait for some time, or until a moment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from crewmesh_contracts.base import Reply
from crewmesh_contracts.workflow.nodes.base import NodeBase, Template


class DelayOutput(Reply):
    until: datetime


class DelayNode(NodeBase):
    """Give ``seconds``, or ``until``: an ISO 8601 moment with its offset. A moment that is over is no wait."""

    Output: ClassVar = DelayOutput

    kind: Literal["delay"]
    seconds: Annotated[Template | float | None, Field(description="At most 366 days.")] = None
    until: Template | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> DelayNode:
        if (self.seconds is None) == (self.until is None):
            raise ValueError("give either seconds or until")
        return self
