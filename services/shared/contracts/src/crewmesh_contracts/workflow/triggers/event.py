"""Start a run for events of a type."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.workflow.nodes.base import Condition
from crewmesh_contracts.workflow.triggers.base import TriggerBase


class EventTrigger(TriggerBase):
    """A run for every CloudEvent of this type; with ``source``, only of that; with ``filter``, where it is true."""

    kind: Literal["event"] = "event"
    type: Annotated[str, Field(min_length=1, max_length=1024)]
    source: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    filter: Annotated[Condition | None, Field(description="CEL over event.")] = None
