"""Do something in another product through a connector."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.actions import ActionResult
from crewmesh_contracts.patterns import ACTION
from crewmesh_contracts.workflow.nodes.base import EffectNode


class ActionNode(EffectNode):
    """``connection`` holds the credentials, ``action`` is what is done: ``github.create_issue``. Output: ``result``."""

    Output: ClassVar = ActionResult

    kind: Literal["action"]
    connection: Slug
    action: Annotated[str, StringConstraints(pattern=ACTION)]
    inputs: Annotated[dict[str, JsonValue], Field(description="Templates may stand anywhere.")] = {}
    timeout_seconds: float = 60.0
