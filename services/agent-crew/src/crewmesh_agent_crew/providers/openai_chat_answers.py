"""What a server of OpenAI's chat completions answers: one document, or chunks of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from crewmesh_contracts.base import JsonObject, Reply
from pydantic import Field, ValidationError

from crewmesh_agent_crew.models.calls import Finish, Tokens
from crewmesh_agent_crew.providers.draft import Draft
from crewmesh_agent_crew.providers.failures import Told, failure_told
from crewmesh_agent_crew.providers.protocol import ProviderError

_FINISHES: Mapping[str, Finish] = {
    "length": "length",
    "model_length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filtered",
}


class _Function(Reply):
    name: str | None = None
    arguments: str | JsonObject | None = None


class _Call(Reply):
    """``index`` is there in streams; servers that leave it out send whole calls, one after the other."""

    index: int | None = None
    id: str | None = None
    function: _Function = _Function()


class _Said(Reply):
    """A message, or what is added to it. Some servers answer in parts, of which some are thoughts."""

    content: str | list[JsonObject] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")
        return self.content or self.refusal or ""


class _Choice(Reply):
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _CachedTokens(Reply):
    cached_tokens: int | None = None


class _Usage(Reply):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _CachedTokens | None = None


class _Whole(Reply):
    choices: Annotated[tuple[_Choice, ...], Field(min_length=1)]
    usage: _Usage | None = None


class _Chunk(Reply):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Told | None = None


class _Model(Reply):
    id: str


class _Models(Reply):
    data: tuple[_Model, ...]


class _Failed(Reply):
    error: Told


def ids_in(body: bytes) -> list[str]:
    """The names in a list of models, as OpenAI and those who copied it answer."""
    try:
        return [model.id for model in _Models.model_validate_json(body).data]
    except ValidationError as error:
        raise ProviderError("unreadable", "what its server answers is no list of models") from error


def read_whole(body: bytes, draft: Draft) -> None:
    try:
        whole = _Whole.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable(body) from error
    choice = whole.choices[0]
    if choice.message is None:
        raise _unreadable(body)
    _say(choice.message, draft)
    draft.finish = _FINISHES.get(choice.finish_reason or "", "stop")
    _count(whole.usage, draft)


def read_chunk(data: str, draft: Draft) -> None:
    try:
        chunk = _Chunk.model_validate_json(data)
    except ValidationError as error:
        raise _unreadable(data.encode(errors="replace")) from error
    if chunk.error is not None:
        raise _failed_inside(chunk.error)
    for choice in chunk.choices[:1]:
        if choice.delta is not None:
            _say(choice.delta, draft)
        if choice.finish_reason:
            draft.finish = _FINISHES.get(choice.finish_reason, "stop")
    _count(chunk.usage, draft)


def _say(said: _Said, draft: Draft) -> None:
    draft.say(said.text)
    for at, call in enumerate(said.tool_calls or ()):
        place = call.index if call.index is not None else call.id or at
        arguments = call.function.arguments
        # Some compatible servers hand over the object itself.
        written = arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
        draft.call(place, id_=call.id, name=call.function.name, arguments=written)


def _count(usage: _Usage | None, draft: Draft) -> None:
    """Some servers do not count; then they count as none. Some count along, and the last count is the whole."""
    if usage is None:
        return
    details = usage.prompt_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    draft.tokens = Tokens(input=usage.prompt_tokens, output=usage.completion_tokens, cached=cached)


def _unreadable(body: bytes) -> ProviderError:
    try:
        return _failed_inside(_Failed.model_validate_json(body).error)
    except ValidationError:
        return ProviderError("unreadable", "what its server answers is no chat completion", tokens_paid=True)


def _failed_inside(told: Told) -> ProviderError:
    """Some servers say what went wrong inside an answer that began with 200."""
    return failure_told(told.code if isinstance(told.code, int) else 500, told, tokens_paid=True)
