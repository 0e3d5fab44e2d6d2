"""Take one of several ways: that of the first case whose condition is true."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.workflow.nodes.base import Condition, NodeBase

DEFAULT = "default"


class Case(Contract):
    port: Slug
    condition: Condition


class SwitchOutput(Reply):
    case: str


class SwitchNode(NodeBase):
    """When no condition is true, the way is ``default``. Output: ``case``, the port that was taken."""

    Output: ClassVar = SwitchOutput

    kind: Literal["switch"]
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=50)]

    @field_validator("cases")
    @classmethod
    def _ports_are_unique(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        ports = [case.port for case in cases]
        if DEFAULT in ports or len(set(ports)) < len(ports):
            raise ValueError("each case needs a port of its own, and default is taken")
        return cases

    @property
    def ports(self) -> tuple[str, ...]:
        return (*(case.port for case in self.cases), DEFAULT)
