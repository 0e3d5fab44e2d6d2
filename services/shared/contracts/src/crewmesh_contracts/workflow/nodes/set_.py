"""Set variables of the run; expressions anywhere in it read them as ``vars.name``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.ids import VariableName
from crewmesh_contracts.workflow.nodes.base import NodeBase


class SetNode(NodeBase):
    """Output: the variables that were set."""

    kind: Literal["set"]
    variables: Annotated[dict[VariableName, JsonValue], Field(min_length=1, max_length=100)]
