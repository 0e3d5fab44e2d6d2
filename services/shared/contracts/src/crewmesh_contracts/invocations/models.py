"""Asking a language model directly, without an agent around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations.base import Invocation
from crewmesh_contracts.invocations.crews import TokenUsage
from crewmesh_contracts.invocations.payer import NOBODY_IN_PARTICULAR, Payer

_MOST_LABEL_CHARACTERS = 200


def unfit_labels(labels: Sequence[str]) -> str | None:
    """Why no model can choose among these."""
    if len(set(labels)) < 2:
        return "to classify, at least two different labels are needed; add one"
    if any(not label.strip() or "\0" in label or len(label) > _MOST_LABEL_CHARACTERS for label in labels):
        return f"a label is text of 1 to {_MOST_LABEL_CHARACTERS} characters; correct it"
    return None


class ModelMessage(Contract):
    role: Literal["user", "assistant"]
    content: Annotated[str, Field(max_length=200_000)]


class ModelRequest(Contract):
    """``prompt`` is the question to chat about, or the text to summarize, to classify or to extract from."""

    task: Literal["chat", "summarize", "classify", "extract"] = "chat"
    model: Annotated[str, Field(min_length=1, max_length=200)] = "default"
    prompt: Annotated[str, Field(max_length=1_000_000)]
    system: Annotated[str, Field(max_length=200_000)] | None = None
    messages: Annotated[tuple[ModelMessage, ...], Field(max_length=200)] = ()
    labels: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    output_schema: JsonObject | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1, le=200_000)] = 1_024
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 300.0
    reuse: Annotated[bool, Field(description="Whether the answer that an equal question got lately will do.")] = False
    payer: Payer = NOBODY_IN_PARTICULAR


class ModelAnswer(Reply):
    """``label`` is one of the labels given; ``data`` follows the schema given."""

    text: str
    label: str | None = None
    data: JsonValue = None
    usage: TokenUsage


ASK_MODEL = Invocation(
    app="agent-crew",
    path="/internal/model",
    permission="models:run",
    request=ModelRequest,
    result=ModelAnswer,
    callers=("workflow",),
    effect=True,
)
