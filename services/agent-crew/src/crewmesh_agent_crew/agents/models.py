"""An agent's definition: who it is, what it thinks with, and what it may do."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.ids import Slug
from pydantic import Field, StringConstraints, model_validator

from crewmesh_agent_crew.guardrails.settings import Guardrails, Limits
from crewmesh_agent_crew.tools.grants import ToolGrant

# PostgreSQL stores any character but NUL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]


class Memory(Contract):
    """``short``: what was said lately, kept for hours; ``long``: what was learnt, found by meaning."""

    short: bool = False
    long: bool = False


class AgentDefinition(Contract):
    """``preset`` names a role that is shipped; what is left empty is taken from it."""

    name: Slug
    description: Annotated[Text, Field(max_length=1_000)] = ""
    preset: Slug | None = None
    role: Annotated[Text, Field(max_length=200)] = ""
    goal: Annotated[Text, Field(max_length=1_000)] = ""
    backstory: Annotated[Text, Field(max_length=20_000)] = ""
    model: Annotated[str, Field(min_length=1, max_length=200)] = "default"
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=200_000)] | None = None
    skills: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    tags: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    tools: Annotated[tuple[ToolGrant, ...], Field(max_length=50)] = ()
    memory: Memory = Memory()
    guardrails: Guardrails = Guardrails()
    limits: Limits = Limits()
    output_schema: JsonObject | None = None

    @model_validator(mode="after")
    def _is_somebody(self) -> AgentDefinition:
        if self.preset is None and not (self.role and self.goal):
            raise ValueError("give the agent a role and a goal, or name a preset")
        names = [tool.name for tool in self.tools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the tools {', '.join(twice)} are there twice; give each its own name")
        return self
