"""Go several ways at once. A ``join`` brings them together again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from crewmesh_contracts.ids import Slug
from crewmesh_contracts.workflow.nodes.base import NodeBase


class ParallelNode(NodeBase):
    kind: Literal["parallel"]
    branches: Annotated[tuple[Slug, ...], Field(min_length=2, max_length=50, description="The ports; all are taken.")]

    @field_validator("branches")
    @classmethod
    def _branches_are_unique(cls, branches: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(branches)) < len(branches):
            raise ValueError("each branch needs a name of its own")
        return branches

    @property
    def ports(self) -> tuple[str, ...]:
        return self.branches
