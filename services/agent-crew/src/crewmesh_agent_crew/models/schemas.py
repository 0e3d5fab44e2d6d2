"""The part of OpenAI's chat completions that is spoken here, and the count of what was used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from crewmesh_contracts.base import Reply
from pydantic import Field


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(slots=True)
class Usage:
    """Grows with every answer that was paid for, used or not."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


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
