"""Wait until an event arrives that belongs to this run."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonObject, Reply
from crewmesh_contracts.workflow.nodes.base import OUT, Condition, NodeBase, Seconds, Template

TIMEOUT = "timeout"


class WaitEventOutput(Reply):
    event: JsonObject | None


class WaitEventNode(NodeBase):
    """An event of this type (and source) whose ``correlation`` equals ``key`` and for which ``filter`` is true ends it.

    Output: ``event``. When the time is over, the way is ``timeout``.
    """

    Output: ClassVar = WaitEventOutput

    kind: Literal["wait_event"]
    type: Annotated[str, Field(min_length=1, max_length=1024)]
    source: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    correlation: Annotated[
        str, Field(max_length=200, description="Path in the event to what must equal key: data.order_id.")
    ] = "subject"
    key: Template | None = None
    filter: Annotated[Condition | None, Field(description="CEL over event, trigger, steps and vars.")] = None
    timeout_seconds: Seconds | None = None

    @property
    def ports(self) -> tuple[str, ...]:
        return (OUT, TIMEOUT)
