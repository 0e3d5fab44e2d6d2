"""Take one of two ways."""

from __future__ import annotations

from typing import ClassVar, Literal

from crewmesh_contracts.base import Reply
from crewmesh_contracts.workflow.nodes.base import Condition, NodeBase


class IfOutput(Reply):
    result: bool


class IfNode(NodeBase):
    """``condition`` is a CEL expression over what templates can read. Output: ``result``."""

    Output: ClassVar = IfOutput

    kind: Literal["if"]
    condition: Condition

    @property
    def ports(self) -> tuple[str, ...]:
        return ("true", "false")
