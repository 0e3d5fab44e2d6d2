"""OpenAI's chat completions: the protocol that most model servers speak, each with habits of its own.

Where a server says that it does not take a parameter, it is asked again without it: the newest models take no
temperature and call the token limit otherwise, and not every server (nor every schema) can be forced to a format. The
messages say in words what is wanted, so that a format less strict still helps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from pydantic import Field, ValidationError

from crewmesh_agent_crew.models.calls import Finish, Message, ModelCall, ModelReply, TextSink, Tokens
from crewmesh_agent_crew.providers.draft import Draft, written
from crewmesh_agent_crew.providers.failures import Told, failure_told
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.protocol import Account, ProviderError, ProviderKind
from crewmesh_agent_crew.providers.streams import events

_FINISHES: Mapping[str, Finish] = {
    "length": "length",
    "model_length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filtered",
}
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_WANTS_NEW_LIMIT_NAME: frozenset[ProviderKind] = frozenset({"openai", "azure", "groq"})
# OpenAI counts cached tokens without being asked; Mistral refuses parameters that it does not know.
_COUNTS_UNASKED: frozenset[ProviderKind] = frozenset({"mistral"})


class OpenAiChat:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        body = _body(account, model, call, streamed=sink is not None)
        while True:
            try:
                return await self._sent(account, model, body, sink)
            except ProviderError as refusal:
                easier = _without_what_was_refused(body, refusal)
                if easier is None:
                    raise
                body = easier

    async def _sent(self, account: Account, model: str, body: JsonObject, sink: TextSink | None) -> ModelReply:
        request = Outgoing(_url(account, model), headers_of(account), json.dumps(body).encode())
        draft = Draft(sink)
        if sink is None:
            _read_whole(await self._http.whole(account, request), draft)
            return draft.reply(provider=account.name, model=model)
        async with self._http.streamed(account, request) as pieces:
            async for event in events(pieces):
                if event.data == "[DONE]":
                    draft.finish = draft.finish or "stop"
                    break
                _read_chunk(event.data, draft)
        if draft.finish is None:
            raise ProviderError("cut", "its answer broke off", tokens_paid=True)
        return draft.reply(provider=account.name, model=model)


def headers_of(account: Account) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if account.key and account.kind == "azure":
        headers["api-key"] = account.key
    elif account.key:
        headers["Authorization"] = f"Bearer {account.key}"
    if account.kind == "openai" and isinstance(account.options.get("organization"), str):
        headers["OpenAI-Organization"] = str(account.options["organization"])
    return headers


def _url(account: Account, model: str) -> str:
    base = account.base_url.rstrip("/")
    if account.kind != "azure":
        return f"{base}/chat/completions"
    version = account.options.get("api_version")
    if isinstance(version, str):
        # The older form of Azure's API: the deployment stands in the path.
        return f"{base}/openai/deployments/{model}/chat/completions?api-version={version}"
    return f"{base}/openai/v1/chat/completions"


def _body(account: Account, model: str, call: ModelCall, *, streamed: bool) -> JsonObject:
    body: JsonObject = {"model": model, "messages": [_message(message) for message in call.messages]}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.max_tokens is not None:
        body[_limit_name(account)] = call.max_tokens
    if call.tools:
        body["tools"] = [{"type": "function", "function": tool.model_dump()} for tool in call.tools]
    if call.schema_ is not None:
        exactly: JsonObject = {"name": "answer", "schema": call.schema_, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": exactly}
    if streamed:
        body["stream"] = True
        if account.kind not in _COUNTS_UNASKED:
            body["stream_options"] = {"include_usage": True}
    return body


def _limit_name(account: Account) -> str:
    told = account.options.get("token_limit_parameter")
    if told in _LIMIT_NAMES:
        return str(told)
    return _LIMIT_NAMES[1] if account.kind in _WANTS_NEW_LIMIT_NAME else _LIMIT_NAMES[0]


def _message(message: Message) -> JsonObject:
    told: JsonObject = {"role": message.role, "content": message.content}
    if message.images:
        told["content"] = [{"type": "text", "text": message.content}, *_images(message)]
    if message.tool_calls:
        told["content"] = message.content or None
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": written(call)}}
            for call in message.tool_calls
        ]
    if message.answers is not None:
        told["tool_call_id"] = message.answers
    return told


def _images(message: Message) -> list[JsonValue]:
    return [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}
        for image in message.images
    ]


def _without_what_was_refused(body: JsonObject, refusal: ProviderError) -> JsonObject | None:
    """The same question in a form that the server may take; nothing when there is none left to try."""
    if refusal.kind != "refused" or refusal.status not in (400, 422):
        return None
    rest = dict(body)
    if _named(refusal, "temperature") and rest.pop("temperature", None) is not None:
        return rest
    old, new = _LIMIT_NAMES
    if _named(refusal, old) and old in rest:
        rest[new] = rest.pop(old)
        return rest
    if _named(refusal, "stream_options") and rest.pop("stream_options", None) is not None:
        return rest
    match rest.pop("response_format", None):
        case None:
            return None
        case {"type": "json_schema"}:
            return {**rest, "response_format": {"type": "json_object"}}
        case _:
            return rest


def _named(refusal: ProviderError, parameter: str) -> bool:
    return refusal.parameter == parameter or (refusal.parameter is None and parameter in refusal.detail)


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


class _Failed(Reply):
    error: Told


def _read_whole(body: bytes, draft: Draft) -> None:
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


def _read_chunk(data: str, draft: Draft) -> None:
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
