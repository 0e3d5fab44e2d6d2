"""What a model is asked and what it answers, whoever serves it. JSON both ways, for the ledger keeps it."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject
from pydantic import Field, StringConstraints

ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
Finish: TypeAlias = Literal["stop", "length", "tools", "filtered"]


class Image(Contract):
    """``data`` in base64."""

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: Annotated[str, Field(min_length=1, max_length=10_000_000)]


class ToolCall(Contract):
    """The model wants a tool used. ``broken``: what it wrote where a JSON object of arguments was due."""

    id: str
    name: str
    arguments: JsonObject = {}
    broken: str | None = None


class Message(Contract):
    """``answers``: of a tool's message, the id of the call that it answers."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    answers: str | None = None


class ToolSpec(Contract):
    """A tool as a model is shown it. ``parameters``: a JSON Schema of an object."""

    name: ToolName
    description: str
    parameters: JsonObject


class ModelCall(Contract):
    """``model`` is a name or alias of the organization's catalogue. What is left out is as the model's entry says.

    ``schema_`` asks for JSON that follows it; servers that can be forced to it are. ``cacheable``: an equal call may be
    answered from the cache.
    """

    model: str = "default"
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    schema_: JsonObject | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    timeout_seconds: float | None = None
    cacheable: bool = False


class Tokens(Contract):
    """``cached`` is the part of ``input`` that the provider had read before and charges less for; ``written`` the part
    that it keeps for later, for which some charge more. ``output`` counts what a model thinks to itself, too.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0


class ModelReply(Contract):
    """``model`` and ``provider``: who answered at last, by their names in the catalogue."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    tokens: Tokens = Tokens()
    model: str = ""
    provider: str = ""


class TextSink(Protocol):
    """Where the words of an answer go while it is being given. Never waits, never fails."""

    def add(self, text: str) -> None:
        """The next words. None at all say that the answer goes on, with something else."""
        ...

    def restart(self) -> None:
        """What was added is void: another attempt begins from the start."""
        ...
