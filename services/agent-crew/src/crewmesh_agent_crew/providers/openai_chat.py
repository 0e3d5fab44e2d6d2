"""OpenAI's chat completions: the protocol that most model servers speak, each with habits of its own.

Where a server says that it does not take a parameter, it is asked again without it: the newest models take no
temperature and call the token limit otherwise, and not every server (nor every schema) can be forced to a format. The
messages say in words what is wanted, so that a format less strict still helps.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.providers.draft import Draft, written
from crewmesh_agent_crew.providers.forms import names, sent_in_some_form, tool_id
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.openai_chat_answers import ids_in, read_chunk, read_whole
from crewmesh_agent_crew.providers.protocol import Account, ProviderError, ProviderKind
from crewmesh_agent_crew.providers.streams import events

_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_MISTRALS_ID = re.compile(r"[a-zA-Z0-9]{9}")
_WANTS_NEW_LIMIT_NAME: frozenset[ProviderKind] = frozenset({"openai", "azure", "groq"})
# OpenAI counts cached tokens without being asked; Mistral refuses parameters that it does not know.
_COUNTS_UNASKED: frozenset[ProviderKind] = frozenset({"mistral"})


class OpenAiChat:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        return await sent_in_some_form(
            _body(account, model, call, streamed=sink is not None),
            lambda body: self._sent(account, model, body, sink),
            _without_what_was_refused,
        )

    async def models(self, account: Account) -> list[str]:
        if account.kind == "openrouter":
            # Its list of models is shown to anybody; whether the key is any good is asked here.
            await self._http.whole(account, Outgoing(f"{base_of(account)}/key", headers_of(account), method="GET"))
        url = f"{base_of(account)}/models"
        body = await self._http.whole(account, Outgoing(url, headers_of(account), method="GET"))
        return ids_in(body)

    async def _sent(self, account: Account, model: str, body: JsonObject, sink: TextSink | None) -> ModelReply:
        request = Outgoing(_url(account, model), headers_of(account), json.dumps(body).encode())
        draft = Draft(sink)
        if sink is None:
            read_whole(await self._http.whole(account, request), draft)
            return draft.reply(provider=account.name, model=model)
        async with self._http.streamed(account, request) as pieces:
            async for event in events(pieces):
                if event.data == "[DONE]":
                    draft.finish = draft.finish or "stop"
                    break
                read_chunk(event.data, draft)
        return draft.complete_reply(provider=account.name, model=model)


def headers_of(account: Account) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if account.key and account.kind == "azure":
        headers["api-key"] = account.key
    elif account.key:
        headers["Authorization"] = f"Bearer {account.key}"
    if account.kind == "openai" and isinstance(account.options.get("organization"), str):
        headers["OpenAI-Organization"] = str(account.options["organization"])
    return headers


def base_of(account: Account) -> str:
    base = account.base_url.rstrip("/")
    return f"{base}/openai/v1" if account.kind == "azure" else base


def _url(account: Account, model: str) -> str:
    version = account.options.get("api_version")
    if account.kind == "azure" and isinstance(version, str):
        # The older form of Azure's API: the deployment stands in the path.
        deployment = f"{account.base_url.rstrip('/')}/openai/deployments/{quote(model, safe='')}"
        return f"{deployment}/chat/completions?api-version={quote(version, safe='')}"
    return f"{base_of(account)}/chat/completions"


def _body(account: Account, model: str, call: ModelCall, *, streamed: bool) -> JsonObject:
    body: JsonObject = {"model": model, "messages": [_message(account, each) for each in call.messages]}
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


def _message(account: Account, message: Message) -> JsonObject:
    told: JsonObject = {"role": message.role, "content": message.content}
    if message.images:
        text: list[JsonValue] = [{"type": "text", "text": message.content}] if message.content else []
        told["content"] = [*text, *_images(message)]
    if message.tool_calls:
        told["content"] = message.content or None
        told["tool_calls"] = [
            {
                "id": _call_id(account, call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": written(call)},
            }
            for call in message.tool_calls
        ]
    if message.answers is not None:
        told["tool_call_id"] = _call_id(account, message.answers)
    return told


def _call_id(account: Account, id_: str) -> str:
    return tool_id(id_, _MISTRALS_ID, longest=9) if account.kind == "mistral" else tool_id(id_)


def _images(message: Message) -> list[JsonValue]:
    return [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}
        for image in message.images
    ]


def _without_what_was_refused(body: JsonObject, refusal: ProviderError) -> JsonObject | None:
    """The same question in a form that the server may take; nothing when there is none left to try."""
    rest = dict(body)
    if names(refusal, "temperature") and rest.pop("temperature", None) is not None:
        return rest
    old, new = _LIMIT_NAMES
    if names(refusal, old) and old in rest:
        rest[new] = rest.pop(old)
        return rest
    if names(refusal, "stream_options") and rest.pop("stream_options", None) is not None:
        return rest
    match rest.pop("response_format", None):
        case None:
            return None
        case {"type": "json_schema"}:
            return {**rest, "response_format": {"type": "json_object"}}
        case _:
            return rest
