"""Ask a language model: to chat, to summarize, to classify, or to extract data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations.models import ModelAnswer, ModelMessage
from crewmesh_contracts.workflow.nodes.base import EffectNode, Template


class LlmNode(EffectNode):
    """Output: ``text``; ``label`` when it classifies; ``data`` when it extracts; ``usage``."""

    Output: ClassVar = ModelAnswer

    kind: Literal["llm"]
    task: Literal["chat", "summarize", "classify", "extract"] = "chat"
    model: Annotated[str, Field(min_length=1, max_length=200, description="A model, or an alias such as fast.")] = (
        "default"
    )
    prompt: Annotated[Template, Field(description="The question, or the text to work on.")]
    system: Template | None = None
    messages: Annotated[tuple[ModelMessage, ...], Field(max_length=200, description="What was said before.")] = ()
    labels: Annotated[tuple[str, ...], Field(max_length=100, description="To classify: one of these.")] = ()
    output_schema: Annotated[JsonObject | None, Field(description="To extract: JSON Schema of the data.")] = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    reuse: Annotated[
        bool,
        Field(description="At temperature 0: whether the answer that an equal question got lately will do, for free."),
    ] = False
    max_tokens: Annotated[int, Field(ge=1, le=200_000)] = 1_024
    timeout_seconds: float = 300.0

    @model_validator(mode="after")
    def _task_has_what_it_needs(self) -> LlmNode:
        if self.task == "classify" and len(self.labels) < 2:
            raise ValueError("to classify, give at least two labels")
        if self.task == "extract" and self.output_schema is None:
            raise ValueError("to extract, give output_schema: the JSON Schema of what is to be found")
        return self
