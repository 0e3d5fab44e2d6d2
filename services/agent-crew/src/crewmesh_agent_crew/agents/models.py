"""An agent's definition: who it is, what it thinks with, and what it may do."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.ids import Slug
from pydantic import Field, model_validator

from crewmesh_agent_crew.guardrails.settings import Guardrails, Limits
from crewmesh_agent_crew.prompt_templates.models import PromptUse
from crewmesh_agent_crew.records.models import Definition, Line, Text
from crewmesh_agent_crew.tools.grants import ToolGrant


class Memory(Contract):
    """``short``: what was said lately, kept for hours; ``long``: what was learnt, found by meaning."""

    short: bool = False
    long: bool = False


class AgentDefinition(Definition):
    """``preset`` names a role that is shipped; what is left empty is taken from it, and its skills are added.

    ``prompt``: a template of the organization in place of the backstory.
    """

    preset: Slug | None = None
    specialization: Slug | None = None
    role: Annotated[Line, Field(max_length=200)] = ""
    goal: Annotated[Text, Field(max_length=1_000)] = ""
    backstory: Annotated[Text, Field(max_length=20_000)] = ""
    prompt: PromptUse | None = None
    model: Annotated[Line, Field(min_length=1, max_length=200)] = "default"
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=200_000)] | None = None
    skills: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    tools: Annotated[tuple[ToolGrant, ...], Field(max_length=50)] = ()
    memory: Memory = Memory()
    guardrails: Guardrails = Guardrails()
    limits: Limits = Limits()
    output_schema: JsonObject | None = None

    @model_validator(mode="after")
    def _is_somebody(self) -> AgentDefinition:
        if self.preset is None and not (self.role and self.goal):
            raise ValueError("give the agent a role and a goal, or name a preset")
        if self.specialization is not None and self.preset is None:
            raise ValueError("a specialization belongs to a preset; name that, too")
        if self.prompt is not None and self.backstory:
            raise ValueError("give the agent a backstory or a prompt, not both")
        names = [tool.name for tool in self.tools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the tools {', '.join(twice)} are there twice; give each its own name")
        return self
