"""Ollama's chat API: one JSON object whole, or one in each line as it is streamed."""

from __future__ import annotations

import json
from collections.abc import Mapping

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from pydantic import ValidationError

from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, TextSink, Tokens
from crewmesh_agent_crew.providers.draft import Draft
from crewmesh_agent_crew.providers.failures import Told, failure_told
from crewmesh_agent_crew.providers.forms import sent_in_some_form, tool_names, without_format
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_agent_crew.providers.streams import lines


class Ollama:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        return await sent_in_some_form(
            _body(account, model, call, streamed=sink is not None),
            lambda body: self._sent(account, model, body, sink),
            lambda body, refusal: without_format(
                body, refusal, temperature=("options", "temperature"), formats=(("format",),)
            ),
        )

    async def models(self, account: Account) -> list[str]:
        url = f"{account.base_url.rstrip('/')}/api/tags"
        body = await self._http.whole(account, Outgoing(url, _headers(account), method="GET"))
        try:
            return [model.name for model in _Models.model_validate_json(body).models]
        except ValidationError as error:
            raise _unreadable() from error

    async def _sent(self, account: Account, model: str, body: JsonObject, sink: TextSink | None) -> ModelReply:
        url = f"{account.base_url.rstrip('/')}/api/chat"
        request = Outgoing(url, _headers(account), json.dumps(body).encode())
        draft = Draft(sink)
        reader = _Reader(draft)
        if sink is None:
            reader.read(await self._http.whole(account, request))
        else:
            async with self._http.streamed(account, request) as pieces:
                async for line in lines(pieces):
                    if line and reader.read(line):
                        break
        return draft.complete_reply(provider=account.name, model=model)


def _headers(account: Account) -> dict[str, str]:
    """A server of one's own wants no key; one behind a gateway may."""
    headers = {"Content-Type": "application/json"}
    return {**headers, "Authorization": f"Bearer {account.key}"} if account.key else headers


def _body(account: Account, model: str, call: ModelCall, *, streamed: bool) -> JsonObject:
    called = tool_names(call.messages)
    said: list[JsonValue] = [_message(called, message) for message in call.messages]
    # Streaming is what it does unless told otherwise.
    body: JsonObject = {"model": model, "messages": said, "stream": streamed}
    if call.tools:
        body["tools"] = [{"type": "function", "function": tool.model_dump()} for tool in call.tools]
    if call.schema_ is not None:
        body["format"] = call.schema_
    options: JsonObject = {}
    if call.temperature is not None:
        options["temperature"] = call.temperature
    if call.max_tokens is not None:
        options["num_predict"] = call.max_tokens
    if "num_ctx" in account.options:
        # What does not fit into the window it cuts off without a word, and its own window is small.
        options["num_ctx"] = account.options["num_ctx"]
    return {**body, "options": options} if options else body


def _message(called: Mapping[str, str], message: Message) -> JsonObject:
    told: JsonObject = {"role": message.role, "content": message.content}
    if message.images:
        told["images"] = [image.data for image in message.images]
    if message.tool_calls:
        told["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    if message.role == "tool":
        told["tool_name"] = called.get(message.answers or "", "unknown")
    return told


class _Function(Reply):
    name: str
    arguments: JsonObject | None = None


class _Call(Reply):
    id: str | None = None
    function: _Function


class _Said(Reply):
    content: str = ""
    tool_calls: tuple[_Call, ...] | None = None


class _Answer(Reply):
    message: _Said | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int = 0
    eval_count: int = 0
    error: str | None = None


class _Model(Reply):
    name: str


class _Models(Reply):
    models: tuple[_Model, ...]


class _Reader:
    """One answer, in one piece or in many. Calls come whole, and without a place of their own."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._calls = 0

    def read(self, data: str | bytes) -> bool:
        """Whether it was the last piece."""
        try:
            answer = _Answer.model_validate_json(data)
        except ValidationError as error:
            raise _unreadable() from error
        if answer.error is not None:
            raise failure_told(500, Told(message=answer.error), tokens_paid=True)
        if answer.message is None:
            raise _unreadable()
        self._draft.say(answer.message.content)
        for call in answer.message.tool_calls or ():
            written = json.dumps(call.function.arguments or {})
            self._draft.call(self._calls, id_=call.id, name=call.function.name, arguments=written)
            self._calls += 1
        if answer.done:
            self._draft.finish = "length" if answer.done_reason == "length" else "stop"
            self._draft.tokens = Tokens(input=answer.prompt_eval_count, output=answer.eval_count)
        return answer.done


def _unreadable() -> ProviderError:
    return ProviderError("unreadable", "what its server answers is no answer of Ollama's", tokens_paid=True)
