"""Do the same for every item of a list."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from crewmesh_contracts.workflow.graph import Graph
from crewmesh_contracts.workflow.nodes.base import NodeBase, Template


class ItemError(Reply):
    index: int
    type: str
    detail: str


class ForEachOutput(Reply):
    items: list[JsonObject | None]
    errors: list[ItemError]
    count: int


class ForEachNode(NodeBase):
    """``items`` is one template that gives a list. In the body, expressions read ``item`` and ``index``.

    Output: ``items`` (the output of the body for each item, null where it failed), ``errors`` and ``count``.
    """

    Output: ClassVar = ForEachOutput

    kind: Literal["for_each"]
    items: Template | list[JsonValue]
    body: Graph
    concurrency: Annotated[int, Field(ge=1, le=100, description="Items worked on at a time.")] = 10
    on_item_error: Annotated[
        Literal["fail", "continue"], Field(description="continue: the item's place is null, and errors names it.")
    ] = "fail"
