"""Take one of two ways."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.workflow.nodes.base import NodeBase


class IfNode(NodeBase):
    """``condition`` is a CEL expression over ``trigger`` and ``steps``. Output: ``result``."""

    ports: ClassVar[tuple[str, ...]] = ("true", "false")

    kind: Literal["if"]
    condition: Annotated[str, Field(min_length=1, max_length=2_000)]
