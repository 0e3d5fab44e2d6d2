"""OpenAI's responses API. Nothing is kept at the provider: every call carries its whole conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from pydantic import ValidationError

from crewmesh_agent_crew.models.calls import Finish, Message, ModelCall, ModelReply, TextSink, Tokens
from crewmesh_agent_crew.providers.draft import Draft, written
from crewmesh_agent_crew.providers.failures import Told, failure_told
from crewmesh_agent_crew.providers.forms import sent_in_some_form, tool_id, without_format
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.openai_chat import headers_of
from crewmesh_agent_crew.providers.openai_chat_answers import ids_in
from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_agent_crew.providers.streams import events

_ENDS = ("response.completed", "response.incomplete")
_STATUS_OF_CODE = {"rate_limit_exceeded": 429, "invalid_prompt": 400}
_FINISHES: Mapping[str, Finish] = {"max_output_tokens": "length", "content_filter": "filtered"}


class OpenAiResponses:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        return await sent_in_some_form(
            _body(model, call, streamed=sink is not None),
            lambda body: self._sent(account, model, body, sink),
            lambda body, refusal: without_format(body, refusal, temperature=("temperature",), formats=(("text",),)),
        )

    async def models(self, account: Account) -> list[str]:
        url = f"{account.base_url.rstrip('/')}/models"
        return ids_in(await self._http.whole(account, Outgoing(url, headers_of(account), method="GET")))

    async def _sent(self, account: Account, model: str, body: JsonObject, sink: TextSink | None) -> ModelReply:
        url = f"{account.base_url.rstrip('/')}/responses"
        request = Outgoing(url, headers_of(account), json.dumps(body).encode())
        draft = Draft(sink)
        if sink is None:
            _read_whole(await self._http.whole(account, request), draft)
            return draft.reply(provider=account.name, model=model)
        async with self._http.streamed(account, request) as pieces:
            async for event in events(pieces):
                if _read_event(event.data, draft):
                    break
        return draft.complete_reply(provider=account.name, model=model)


def _body(model: str, call: ModelCall, *, streamed: bool) -> JsonObject:
    said: list[JsonValue] = [item for message in call.messages for item in _items(message)]
    body: JsonObject = {"model": model, "input": said, "store": False}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.max_tokens is not None:
        body["max_output_tokens"] = call.max_tokens
    if call.tools:
        body["tools"] = [{"type": "function", **tool.model_dump(), "strict": False} for tool in call.tools]
    if call.schema_ is not None:
        body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": call.schema_, "strict": True}}
    if streamed:
        body["stream"] = True
    return body


def _items(message: Message) -> list[JsonObject]:
    if message.role == "tool":
        answers = tool_id(message.answers or "")
        return [{"type": "function_call_output", "call_id": answers, "output": message.content}]
    calls: list[JsonObject] = [
        {"type": "function_call", "call_id": tool_id(call.id), "name": call.name, "arguments": written(call)}
        for call in message.tool_calls
    ]
    parts = _parts(message)
    if not parts and calls:
        return calls
    return [{"type": "message", "role": message.role, "content": parts}, *calls]


def _parts(message: Message) -> list[JsonValue]:
    kind = "output_text" if message.role == "assistant" else "input_text"
    text: list[JsonValue] = [{"type": kind, "text": message.content}] if message.content else []
    images: list[JsonValue] = [
        {"type": "input_image", "image_url": f"data:{image.media_type};base64,{image.data}"} for image in message.images
    ]
    return [*text, *images]


class _Part(Reply):
    type: str
    text: str = ""
    refusal: str = ""


class _Item(Reply):
    type: str
    content: tuple[_Part, ...] = ()
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""


class _CachedTokens(Reply):
    cached_tokens: int = 0


class _Usage(Reply):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _CachedTokens = _CachedTokens()


class _Reason(Reply):
    reason: str = ""


class _Response(Reply):
    """Items of kinds that nobody asked for here have shapes of their own, and are passed over."""

    status: str
    output: tuple[JsonObject, ...] = ()
    incomplete_details: _Reason | None = None
    error: Told | None = None
    usage: _Usage | None = None


class _Event(Reply):
    type: str
    delta: JsonValue = None
    output_index: int = 0
    item: JsonObject | None = None
    response: _Response | None = None
    code: str | None = None
    message: str | None = None


def _read_whole(body: bytes, draft: Draft) -> None:
    try:
        response = _Response.model_validate_json(body)
        for at, item in enumerate(response.output):
            if item.get("type") in ("message", "function_call"):
                _read_item(at, _Item.model_validate(item), draft)
    except ValidationError as error:
        raise _unreadable() from error
    _read_end(response, draft)


def _read_item(at: int, item: _Item, draft: Draft) -> None:
    for part in item.content:
        draft.say(part.text or part.refusal)
    if item.type == "function_call":
        draft.call(at, id_=item.call_id, name=item.name, arguments=item.arguments)


def _read_event(data: str, draft: Draft) -> bool:
    """Whether it was the last one."""
    try:
        event = _Event.model_validate_json(data)
        item = _Item.model_validate(event.item) if event.type == "response.output_item.added" else None
    except ValidationError as error:
        raise _unreadable() from error
    match event.type:
        case "response.output_text.delta" | "response.refusal.delta":
            draft.say(str(event.delta or ""))
        case "response.output_item.added" if item is not None and item.type == "function_call":
            draft.call(event.output_index, id_=item.call_id, name=item.name)
        case "response.function_call_arguments.delta":
            draft.call(event.output_index, arguments=str(event.delta or ""))
        case "error":
            raise _failed(Told(code=event.code, message=event.message or ""))
        case _ if event.response is not None and event.type in (*_ENDS, "response.failed"):
            _read_end(event.response, draft)
            return True
        case _:
            pass
    return False


def _read_end(response: _Response, draft: Draft) -> None:
    if response.status in ("failed", "cancelled"):
        raise _failed(response.error or Told(message="it failed"))
    reason = "" if response.incomplete_details is None else response.incomplete_details.reason
    draft.finish = _FINISHES.get(reason, "stop")
    if response.usage is not None:
        used = response.usage
        cached = used.input_tokens_details.cached_tokens
        draft.tokens = Tokens(input=used.input_tokens, output=used.output_tokens, cached=cached)


def _failed(told: Told) -> ProviderError:
    return failure_told(_STATUS_OF_CODE.get(str(told.code), 500), told, tokens_paid=True)


def _unreadable() -> ProviderError:
    return ProviderError("unreadable", "what its server answers is no response of OpenAI's", tokens_paid=True)
