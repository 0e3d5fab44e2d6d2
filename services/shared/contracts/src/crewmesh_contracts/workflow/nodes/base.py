"""What every node has, whatever its kind."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug

Template = Annotated[str, Field(max_length=20_000, description="Text in which {{ path }} is replaced by a value.")]


class Retry(Contract):
    """How often an effect is tried, and how long the wait before the second try is; it doubles from there."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    backoff_seconds: Annotated[float, Field(gt=0, le=3_600)] = 0.5


class NodeBase(Contract):
    # The ways out of the node; an edge names one of them. Most nodes have the one called "out".
    ports: ClassVar[tuple[str, ...]] = ("out",)

    id: Slug
    name: Annotated[str, Field(max_length=200)] | None = None


class EffectNode(NodeBase):
    """A node that reaches beyond the engine, so that it can fail, be slow, and be tried again."""

    retry: Retry = Retry()
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 120.0
