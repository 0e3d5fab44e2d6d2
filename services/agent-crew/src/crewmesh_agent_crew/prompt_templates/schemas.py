"""What the public API shows of prompt templates."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract, Reply
from pydantic import Field

from crewmesh_agent_crew.prompt_templates.models import Value, VariableName
from crewmesh_agent_crew.records.schemas import Summary


class PromptTemplateSummary(Summary):
    variables: tuple[str, ...]


class RenderRequest(Contract):
    """Without a version, the newest."""

    variables: Annotated[dict[VariableName, Value], Field(max_length=50)] = {}
    version: Annotated[int, Field(ge=1)] | None = None

    model_config = {"json_schema_extra": {"examples": [{"variables": {"audience": "engineers", "words": 120}}]}}


class Rendered(Reply):
    text: str
    version: int
