"""Amazon Bedrock's Converse API, for every model it serves.

An account has a secret access key, with ``access_key_id`` in its options, or else one of Bedrock's own API keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from pydantic import ValidationError

from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.providers.bedrock_answers import StreamReader, read_whole, unreadable
from crewmesh_agent_crew.providers.draft import Draft
from crewmesh_agent_crew.providers.forms import (
    sent_in_some_form,
    system_of,
    together,
    told_without_tools,
    tool_id,
    without_format,
)
from crewmesh_agent_crew.providers.frames import frames
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.protocol import Account
from crewmesh_agent_crew.providers.signing import signed

_SERVICE = "bedrock"
_SETTINGS = "inferenceConfig"


class Bedrock:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        return await sent_in_some_form(
            _body(call),
            lambda body: self._sent(account, model, body, sink),
            lambda body, refusal: without_format(
                body, refusal, temperature=(_SETTINGS, "temperature"), formats=(("outputConfig",),)
            ),
        )

    async def models(self, account: Account) -> list[str]:
        # The list is kept at a host of its own.
        base = account.base_url.rstrip("/").replace("//bedrock-runtime.", "//bedrock.", 1)
        body = await self._http.whole(account, _request(account, "GET", f"{base}/foundation-models"))
        try:
            return [model.modelId for model in _Models.model_validate_json(body).modelSummaries]
        except ValidationError as error:
            raise unreadable() from error

    async def _sent(self, account: Account, model: str, body: JsonObject, sink: TextSink | None) -> ModelReply:
        method = "converse" if sink is None else "converse-stream"
        url = f"{account.base_url.rstrip('/')}/model/{quote(model, safe='')}/{method}"
        request = _request(account, "POST", url, json.dumps(body).encode())
        draft = Draft(sink)
        if sink is None:
            read_whole(await self._http.whole(account, request), draft)
        else:
            reader = StreamReader(draft)
            async with self._http.streamed(account, request) as pieces:
                async for frame in frames(pieces):
                    reader.read(frame)
        return draft.complete_reply(provider=account.name, model=model)


def _request(account: Account, method: str, url: str, body: bytes = b"") -> Outgoing:
    key_id = account.options.get("access_key_id")
    if not isinstance(key_id, str):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {account.key}"}
        return Outgoing(url, headers, body or None, method)
    headers = signed(
        method,
        url,
        body,
        region=str(account.options.get("region", "")),
        service=_SERVICE,
        key_id=key_id,
        secret=account.key,
        at=datetime.now(UTC),
    )
    return Outgoing(url, headers, body or None, method)


def _body(call: ModelCall) -> JsonObject:
    messages = call.messages if call.tools else told_without_tools(call.messages)
    said: list[JsonValue] = [{"role": role, "content": parts} for role, parts in together(messages, _parts)]
    body: JsonObject = {"messages": said}
    system = system_of(call.messages)
    if system:
        body["system"] = [{"text": system}]
    settings: JsonObject = {}
    if call.temperature is not None:
        settings["temperature"] = min(call.temperature, 1.0)
    if call.max_tokens is not None:
        settings["maxTokens"] = call.max_tokens
    if settings:
        body[_SETTINGS] = settings
    if call.tools:
        body["toolConfig"] = {"tools": _tools(call)}
    if call.schema_ is not None:
        # Here alone the schema travels as text.
        structure: JsonObject = {"jsonSchema": {"name": "answer", "schema": json.dumps(call.schema_)}}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
    return body


def _tools(call: ModelCall) -> list[JsonValue]:
    return [
        {
            "toolSpec": {
                "name": tool.name,
                # It may be left out, but not be empty.
                "description": tool.description or tool.name,
                "inputSchema": {"json": tool.parameters},
            }
        }
        for tool in call.tools
    ]


def _parts(message: Message) -> Sequence[JsonValue]:
    if message.role == "tool":
        content: list[JsonValue] = [{"text": message.content or "(nothing)"}]
        return [{"toolResult": {"toolUseId": tool_id(message.answers or ""), "content": content}}]
    images: list[JsonValue] = [
        {"image": {"format": image.media_type.removeprefix("image/"), "source": {"bytes": image.data}}}
        for image in message.images
    ]
    text: list[JsonValue] = [{"text": message.content}] if message.content else []
    calls: list[JsonValue] = [
        {"toolUse": {"toolUseId": tool_id(call.id), "name": call.name, "input": call.arguments}}
        for call in message.tool_calls
    ]
    return [*images, *text, *calls]


class _Model(Reply):
    modelId: str  # noqa: N815  as AWS writes it


class _Models(Reply):
    modelSummaries: tuple[_Model, ...]  # noqa: N815
