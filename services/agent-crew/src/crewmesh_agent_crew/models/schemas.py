"""The part of OpenAI's chat completions that is spoken here, and the count of what was used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from crewmesh_contracts.base import JsonObject, Reply
from crewmesh_contracts.invocations import TokenUsage
from pydantic import Field


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How an answer is wanted. What is left out is as the settings say; ``schema`` asks for JSON that follows it."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    timeout_seconds: float | None = None
    schema: JsonObject | None = None


NO_WISHES = Wishes()


@dataclass(slots=True)
class Usage:
    """Grows with every answer that was paid for, used or not."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def of(self, model: str) -> TokenUsage:
        """As it is told to others."""
        return TokenUsage(
            model=model,
            requests=self.requests,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
        )


class _AnswerMessage(Reply):
    content: str | None = None


class _Choice(Reply):
    message: _AnswerMessage


class _CountedTokens(Reply):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(Reply):
    """An answer. Some servers do not count tokens; then they count as none."""

    choices: Annotated[tuple[_Choice, ...], Field(min_length=1)]
    usage: _CountedTokens | None = None

    @property
    def text(self) -> str:
        # PostgreSQL stores any character but this one.
        return (self.choices[0].message.content or "").replace("\0", "").strip()

    @property
    def tokens(self) -> _CountedTokens:
        return self.usage or _CountedTokens()
