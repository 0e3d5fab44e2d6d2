"""Give one agent a task."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.agents import AgentResult
from crewmesh_contracts.workflow.nodes.base import EffectNode, Template


class AgentNode(EffectNode):
    """Output: ``text``, ``data`` (when ``output_schema`` is given) and ``usage``."""

    Output: ClassVar = AgentResult

    kind: Literal["agent"]
    agent: Slug
    task: Template
    expected: Annotated[Template, Field(description="What a good answer looks like.")] = "A short, correct answer."
    output_schema: Annotated[JsonObject | None, Field(description="JSON Schema that the answer must follow.")] = None
    timeout_seconds: float = 600.0
