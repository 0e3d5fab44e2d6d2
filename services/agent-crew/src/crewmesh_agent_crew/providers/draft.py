"""An answer while it arrives: words, pieces of tool calls and counts, gathered the same way for every protocol."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.storable import clean_text, read_clean

from crewmesh_agent_crew.models.calls import Finish, ModelReply, TextSink, Tokens, ToolCall
from crewmesh_agent_crew.providers.protocol import ProviderError

MOST_CHARACTERS = 2 * 1024 * 1024
_MOST_TOOL_CALLS = 128
_MOST_TOKENS = 1_000_000_000


@dataclass(slots=True)
class _DraftedCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class Draft:
    """Say what came, then take the ``reply``. Whole answers are said in one go."""

    def __init__(self, sink: TextSink | None = None) -> None:
        self.tokens = Tokens()
        self.finish: Finish | None = None
        self._sink = sink
        self._words: list[str] = []
        self._calls: dict[int | str, _DraftedCall] = {}
        self._characters = 0

    def say(self, text: str) -> None:
        text = clean_text(text)
        if not text:
            return
        self._count(text)
        self._words.append(text)
        if self._sink is not None:
            self._sink.add(text)

    def call(self, place: int | str, *, id_: str | None = None, name: str | None = None, arguments: str = "") -> None:
        """A tool call, or the next piece of the one at this place of the answer."""
        drafted = self._calls.setdefault(place, _DraftedCall())
        if len(self._calls) > _MOST_TOOL_CALLS:
            raise ProviderError("unreadable", "its answer has too many tool calls", tokens_paid=True)
        drafted.id = drafted.id or clean_text(id_ or "")
        drafted.name = drafted.name or clean_text(name or "")
        self._count(arguments)
        drafted.arguments.append(arguments)
        if self._sink is not None:
            self._sink.add("")  # no words; but whoever waits for the answer to begin learns that it has

    def reply(self, *, provider: str, model: str) -> ModelReply:
        """The whole answer; one without any words or calls, though the model was free to say some, counts as cut."""
        text = "".join(self._words).strip()
        calls = tuple(_tool_call(at, drafted) for at, drafted in enumerate(self._calls.values()))
        finish = self.finish or "stop"
        if calls and finish == "stop":
            finish = "tools"
        if not text and not calls and finish in ("stop", "tools"):
            raise ProviderError("cut", "its answer was empty", tokens_paid=True)
        return ModelReply(
            text=text, tool_calls=calls, finish=finish, tokens=_counted(self.tokens), provider=provider, model=model
        )

    def complete_reply(self, *, provider: str, model: str) -> ModelReply:
        """The same for a stream, which is whole only when it said how it ended."""
        if self.finish is None:
            raise ProviderError("cut", "its answer broke off", tokens_paid=True)
        return self.reply(provider=provider, model=model)

    def _count(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MOST_CHARACTERS:
            raise too_large(MOST_CHARACTERS)


def _counted(tokens: Tokens) -> Tokens:
    """Counts that can be true. A server that counts otherwise counts as one that does not count at all."""
    counts = tokens.model_dump().values()
    return tokens if all(0 <= count <= _MOST_TOKENS for count in counts) else Tokens()


def written(call: ToolCall) -> str:
    """The arguments as the model wrote them, to show it what it said."""
    return json.dumps(call.arguments) if call.broken is None else call.broken


def too_large(limit: int) -> ProviderError:
    return ProviderError("unreadable", f"its answer is larger than {limit} bytes", tokens_paid=True)


def _tool_call(at: int, drafted: _DraftedCall) -> ToolCall:
    text = "".join(drafted.arguments)
    id_ = drafted.id or f"call_{at}"
    arguments = _object_in(text)
    if arguments is None:
        return ToolCall(id=id_, name=drafted.name, broken=clean_text(text))
    return ToolCall(id=id_, name=drafted.name, arguments=arguments)


def _object_in(text: str) -> JsonObject | None:
    """The arguments, when a JSON object was written; a tool without parameters is often given nothing at all."""
    if not text.strip():
        return {}
    try:
        value = read_clean(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
