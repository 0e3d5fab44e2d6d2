"""Shape data: the output is the rendered value of ``output``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow.nodes.base import NodeBase


class TransformNode(NodeBase):
    kind: Literal["transform"]
    output: Annotated[dict[str, JsonValue], Field(description="Templates may stand anywhere.")]
