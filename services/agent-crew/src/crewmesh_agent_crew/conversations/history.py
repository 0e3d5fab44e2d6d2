"""What of a conversation a model is shown: as much of its end as the model can read, and in short what came before.

Tokens are estimated from bytes, as every provider counts its own. What is older than what fits stands in a summary,
which is made after an answer was given, for the next one: nobody waits for it, and without it the talk goes on.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crewmesh_agent_crew.conversations.models import File, Spoken
from crewmesh_agent_crew.crew_runs.stage import Document
from crewmesh_agent_crew.models.calls import Image, Message

# Of what a model can read, for what was said before; and for what was attached.
_SHARE_OF_HISTORY, _SHARE_OF_FILES = 0.5, 0.25
_MOST_HISTORY_TOKENS, _MOST_FILE_TOKENS = 32_000, 24_000
UNKNOWN_CONTEXT = 16_000
_BYTES_PER_TOKEN = 3
_AROUND_A_MESSAGE = 8
_MOST_IMAGES = 4
_EARLIER = "What was said before this, in short:\n"
_LEFT_OUT = "\n[The rest of the file is left out.]"


def tokens_of(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN + _AROUND_A_MESSAGE


@dataclass(frozen=True, slots=True)
class Budgets:
    """How many tokens of each may be shown."""

    history: int
    files: int

    @classmethod
    def of(cls, context_tokens: int | None) -> Budgets:
        context = context_tokens or UNKNOWN_CONTEXT
        history = min(int(context * _SHARE_OF_HISTORY), _MOST_HISTORY_TOKENS)
        return cls(history, min(int(context * _SHARE_OF_FILES), _MOST_FILE_TOKENS))


def history(said: Sequence[Spoken], summaries: Mapping[str, str], budget: int) -> tuple[Message, ...]:
    """The messages before the one that is answered. ``summaries``: by the message up to which they tell."""
    summary, rest = _after_summary(said, summaries)
    kept: list[Spoken] = []
    left = budget - tokens_of(summary)
    for message in reversed(rest):
        left -= tokens_of(message.text)
        if left < 0:
            break
        kept.append(message)
    kept.reverse()
    while kept and kept[0].role == "assistant":  # an answer to what is left out
        kept.pop(0)
    messages = [Message(role=message.role, content=message.text or "(nothing)") for message in kept]
    if summary:
        earlier = f"{_EARLIER}{summary}"
        if messages:
            messages[0] = messages[0].model_copy(update={"content": f"{earlier}\n\n{messages[0].content}"})
        else:
            messages = [Message(role="user", content=earlier), Message(role="assistant", content="I remember.")]
    return tuple(messages)


def to_summarize(
    said: Sequence[Spoken], summaries: Mapping[str, str], budget: int
) -> tuple[str, Sequence[Spoken]] | None:
    """The summary there is and what is to be added to it, once three quarters of what fits are full."""
    summary, rest = _after_summary(said, summaries)
    sizes = [tokens_of(message.text) for message in rest]
    if sum(sizes) + tokens_of(summary) <= budget * 3 // 4:
        return None
    aim, taken = sum(sizes) // 2, 0
    for number, size in enumerate(sizes):
        taken += size
        if taken >= aim and rest[number].role == "assistant":
            return summary, rest[: number + 1]
    return None


def documents(files: Sequence[File], budget: int) -> tuple[Document, ...]:
    """Texts, the latest in full as far as they fit."""
    shown: list[Document] = []
    left = budget
    for file in reversed([file for file in files if not file.is_image]):
        text = file.content.decode("utf-8-sig")
        fits = max(left, 0) * _BYTES_PER_TOKEN
        if len(file.content) > fits:
            text = file.content[:fits].decode("utf-8-sig", "ignore") + _LEFT_OUT
        left -= tokens_of(text)
        shown.append(Document(name=file.name, text=text))
    return tuple(reversed(shown))


def images(files: Sequence[File]) -> tuple[Image, ...]:
    """The latest ones."""
    latest = [file for file in files if file.is_image][-_MOST_IMAGES:]
    return tuple(
        Image.model_validate({"media_type": file.media_type, "data": base64.b64encode(file.content).decode()})
        for file in latest
    )


def _after_summary(said: Sequence[Spoken], summaries: Mapping[str, str]) -> tuple[str, Sequence[Spoken]]:
    """The latest summary of this branch, and what was said since."""
    for number in range(len(said) - 1, -1, -1):
        if said[number].id in summaries:
            return summaries[said[number].id], said[number + 1 :]
    return "", said
