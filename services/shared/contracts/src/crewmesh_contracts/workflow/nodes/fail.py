"""End this way with an error of one's own."""

from __future__ import annotations

from typing import Literal

from crewmesh_contracts.workflow.nodes.base import NodeBase, Template


class FailNode(NodeBase):
    kind: Literal["fail"]
    message: Template

    @property
    def ports(self) -> tuple[str, ...]:
        return ()
