"""Answer whoever started the run, before it has ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow.nodes.base import NodeBase, Template


class RespondNode(NodeBase):
    """The first that is reached answers the webhook or the start that waits for the run. Output: the answer."""

    kind: Literal["respond"]
    status: Annotated[int, Field(ge=200, le=599)] = 200
    headers: dict[str, Template] = {}
    body: Annotated[JsonValue, Field(description="Templates may stand anywhere.")] = None
