"""Anthropic's messages API: the system beside the conversation, tool results as parts of what the user says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from pydantic import ValidationError

from crewmesh_agent_crew.models.calls import Finish, Message, ModelCall, ModelReply, TextSink, Tokens
from crewmesh_agent_crew.providers.draft import Draft
from crewmesh_agent_crew.providers.failures import Told, failure_told
from crewmesh_agent_crew.providers.forms import (
    sent_in_some_form,
    system_of,
    together,
    told_without_tools,
    tool_id,
    without_format,
)
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.openai_chat_answers import ids_in
from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_agent_crew.providers.streams import events

_VERSION = "2023-06-01"
# The API wants a limit in every call.
_MOST_TOKENS = 4096
_FINISHES: Mapping[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "filtered",
}
# Errors inside a stream come by name, without a status.
_STATUS_OF_ERROR = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class Anthropic:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        return await sent_in_some_form(
            _body(model, call, streamed=sink is not None),
            lambda body: self._sent(account, model, body, sink),
            lambda body, refusal: without_format(
                body, refusal, temperature=("temperature",), formats=(("output_config",),)
            ),
        )

    async def models(self, account: Account) -> list[str]:
        url = f"{account.base_url.rstrip('/')}/models?limit=1000"
        return ids_in(await self._http.whole(account, Outgoing(url, _headers(account), method="GET")))

    async def _sent(self, account: Account, model: str, body: JsonObject, sink: TextSink | None) -> ModelReply:
        url = f"{account.base_url.rstrip('/')}/messages"
        request = Outgoing(url, _headers(account), json.dumps(body).encode())
        draft = Draft(sink)
        if sink is None:
            _read_whole(await self._http.whole(account, request), draft)
            return draft.reply(provider=account.name, model=model)
        async with self._http.streamed(account, request) as pieces:
            reader = _Reader(draft)
            async for event in events(pieces):
                if reader.read(event.data):
                    break
        return draft.complete_reply(provider=account.name, model=model)


def _headers(account: Account) -> dict[str, str]:
    return {"Content-Type": "application/json", "x-api-key": account.key, "anthropic-version": _VERSION}


def _body(model: str, call: ModelCall, *, streamed: bool) -> JsonObject:
    messages = call.messages if call.tools else told_without_tools(call.messages)
    said: list[JsonValue] = [{"role": role, "content": parts} for role, parts in together(messages, _parts)]
    body: JsonObject = {"model": model, "max_tokens": call.max_tokens or _MOST_TOKENS, "messages": said}
    system = system_of(call.messages)
    if system:
        body["system"] = system
    if call.temperature is not None:
        # Its scale ends where others are half way.
        body["temperature"] = min(call.temperature, 1.0)
    if call.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in call.tools
        ]
    if call.schema_ is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": call.schema_}}
    if streamed:
        body["stream"] = True
    return body


def _parts(message: Message) -> Sequence[JsonValue]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": tool_id(message.answers or ""), "content": message.content}]
    images: list[JsonValue] = [
        {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}
        for image in message.images
    ]
    text: list[JsonValue] = [{"type": "text", "text": message.content}] if message.content else []
    calls: list[JsonValue] = [
        {"type": "tool_use", "id": tool_id(call.id), "name": call.name, "input": call.arguments}
        for call in message.tool_calls
    ]
    return [*images, *text, *calls]


class _Block(Reply):
    type: str
    text: str = ""
    id: str | None = None
    name: str | None = None
    input: JsonValue = None


class _Usage(Reply):
    """What was cached is not counted in ``input_tokens``. In a stream the counts come in parts."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Whole(Reply):
    content: tuple[_Block, ...]
    stop_reason: str | None = None
    usage: _Usage = _Usage()


class _Begun(Reply):
    usage: _Usage = _Usage()


class _Delta(Reply):
    type: str | None = None
    text: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Event(Reply):
    type: str
    index: int = 0
    message: _Begun | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Told | None = None


def _read_whole(body: bytes, draft: Draft) -> None:
    try:
        whole = _Whole.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable() from error
    for at, block in enumerate(whole.content):
        if block.type == "text":
            draft.say(block.text)
        elif block.type == "tool_use":
            draft.call(at, id_=block.id, name=block.name, arguments=json.dumps(block.input))
    draft.finish = _FINISHES.get(whole.stop_reason or "", "stop")
    draft.tokens = _tokens(whole.usage)


class _Reader:
    """The events of one stream."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._usage = _Usage()

    def read(self, data: str) -> bool:
        """Whether it was the last one."""
        try:
            event = _Event.model_validate_json(data)
        except ValidationError as error:
            raise _unreadable() from error
        if event.error is not None:
            raise failure_told(_STATUS_OF_ERROR.get(event.error.type or "", 500), event.error, tokens_paid=True)
        if event.message is not None:
            self._count(event.message.usage)
        if event.usage is not None:
            self._count(event.usage)
        if event.content_block is not None:
            self._begin(event.index, event.content_block)
        if event.delta is not None:
            self._go_on(event.index, event.delta)
        return event.type == "message_stop"

    def _begin(self, at: int, block: _Block) -> None:
        if block.type == "text":
            self._draft.say(block.text)
        elif block.type == "tool_use":
            self._draft.call(at, id_=block.id, name=block.name)

    def _go_on(self, at: int, delta: _Delta) -> None:
        if delta.type == "text_delta":
            self._draft.say(delta.text)
        elif delta.type == "input_json_delta":
            self._draft.call(at, arguments=delta.partial_json)
        if delta.stop_reason is not None:
            self._draft.finish = _FINISHES.get(delta.stop_reason, "stop")

    def _count(self, usage: _Usage) -> None:
        self._usage = self._usage.model_copy(update=usage.model_dump(exclude_none=True))
        self._draft.tokens = _tokens(self._usage)


def _tokens(usage: _Usage) -> Tokens:
    cached, kept = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return Tokens(
        input=(usage.input_tokens or 0) + cached + kept, output=usage.output_tokens or 0, cached=cached, written=kept
    )


def _unreadable() -> ProviderError:
    return ProviderError("unreadable", "what its server answers is no message of Anthropic's", tokens_paid=True)
