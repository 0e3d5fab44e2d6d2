"""Model calls in traces and in figures.

Spans follow OpenTelemetry's conventions for generative AI. What was asked and answered is in them only where the
setting says so. Figures know the models that are built in or the deployment's; those that organizations add are one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.telemetry import span
from opentelemetry.trace import Span, Status, StatusCode

from crewmesh_agent_crew.catalogue.models import ModelEntry
from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, ToolCall
from crewmesh_agent_crew.models.metrics import (
    MODEL_ATTEMPTS,
    MODEL_FIRST_WORD_SECONDS,
    MODEL_KEPT_ANSWERS,
    MODEL_SECONDS,
    MODEL_TOKENS,
)
from crewmesh_agent_crew.providers.protocol import ProviderError, ProviderKind
from crewmesh_agent_crew.routing.candidates import Candidate
from crewmesh_agent_crew.routing.hearing import Hearing

# Where the conventions have a name of their own.
_PROVIDERS: Mapping[ProviderKind, str] = {
    "openai-responses": "openai",
    "openai-compatible": "openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
}
_FINISHES = {"stop": "stop", "length": "length", "tools": "tool_calls", "filtered": "content_filter"}


class Watched:
    """One attempt, for whoever makes it to say how it went."""

    def __init__(self, current: Span, label: str, *, with_content: bool) -> None:
        self._span = current
        self._label = label
        self._with_content = with_content
        self._started = time.monotonic()
        self.outcome = "cancelled"

    def answered(self, reply: ModelReply, hearing: Hearing | None) -> None:
        self.outcome = "ok"
        tokens = reply.tokens
        for kind, count in (("input", tokens.input), ("output", tokens.output), ("cached", tokens.cached)):
            MODEL_TOKENS.labels(self._label, kind).inc(count)
        if hearing is not None and hearing.begun is not None:
            MODEL_FIRST_WORD_SECONDS.labels(self._label).observe(hearing.begun - self._started)
        if not self._span.is_recording():
            return
        self._span.set_attributes(
            {
                "gen_ai.response.model": reply.model,
                "gen_ai.response.finish_reasons": [_FINISHES[reply.finish]],
                "gen_ai.usage.input_tokens": tokens.input,
                "gen_ai.usage.output_tokens": tokens.output,
                "gen_ai.usage.cache_read.input_tokens": tokens.cached,
                "gen_ai.usage.cache_creation.input_tokens": tokens.written,
            }
        )
        if self._with_content:
            said = {"role": "assistant", "parts": _said(reply.text, reply.tool_calls), "finish_reason": reply.finish}
            self._span.set_attribute("gen_ai.output.messages", json.dumps([said], ensure_ascii=False))

    def failed(self, error: ProviderError) -> None:
        """The detail stays out of the span: servers may repeat in it what they were asked."""
        self.outcome = error.kind
        self._span.set_attribute("error.type", error.kind)
        self._span.set_status(Status(StatusCode.ERROR))

    def over(self) -> None:
        MODEL_ATTEMPTS.labels(self._label, self.outcome).inc()
        MODEL_SECONDS.labels(self._label, self.outcome).observe(time.monotonic() - self._started)


@contextmanager
def watched(candidate: Candidate, call: ModelCall, *, with_content: bool) -> Generator[Watched]:
    entry = candidate.entry
    with span(f"chat {entry.model}") as current:
        if current.is_recording():
            current.set_attributes(_asked(entry, call))
            if with_content:
                asked = [_message(message) for message in call.messages]
                current.set_attribute("gen_ai.input.messages", json.dumps(asked, ensure_ascii=False))
        attempt = Watched(current, label_of(entry), with_content=with_content)
        try:
            yield attempt
        finally:
            attempt.over()


def count_kept_answer(entry: ModelEntry) -> None:
    MODEL_KEPT_ANSWERS.labels(label_of(entry)).inc()


def label_of(entry: ModelEntry) -> str:
    return "an organization's own" if entry.source == "organization" else entry.name


def _asked(entry: ModelEntry, call: ModelCall) -> dict[str, str | int | float]:
    asked: dict[str, str | int | float | None] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(entry.kind, entry.kind),
        "gen_ai.request.model": entry.model,
        "gen_ai.request.max_tokens": call.max_tokens,
        "gen_ai.request.temperature": call.temperature,
        "gen_ai.output.type": "text" if call.schema_ is None else "json",
    }
    return {name: value for name, value in asked.items() if value is not None}


def _message(message: Message) -> JsonObject:
    """Of images it is told that there are some."""
    parts = _said("" if message.answers else message.content, message.tool_calls)
    if message.answers is not None:
        parts.append({"type": "tool_call_response", "id": message.answers, "response": message.content})
    for image in message.images:
        parts.append({"type": "blob", "modality": "image", "mime_type": image.media_type})
    return {"role": message.role, "parts": parts}


def _said(text: str, calls: tuple[ToolCall, ...]) -> list[JsonValue]:
    parts: list[JsonValue] = [{"type": "text", "content": text}] if text else []
    for call in calls:
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments})
    return parts
