"""Google's Gemini API: generateContent, and the same as a stream of server-sent events."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from pydantic import ValidationError

from crewmesh_agent_crew.models.calls import Finish, Message, ModelCall, ModelReply, TextSink, Tokens
from crewmesh_agent_crew.providers.draft import Draft
from crewmesh_agent_crew.providers.failures import Told, failure_told
from crewmesh_agent_crew.providers.forms import sent_in_some_form, system_of, together, tool_names, without_format
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_agent_crew.providers.streams import events

_SETTINGS = "generationConfig"
_FORMATS = ((_SETTINGS, "responseJsonSchema"), (_SETTINGS, "responseMimeType"))
_FINISHES: Mapping[str, Finish] = {
    "MAX_TOKENS": "length",
    "SAFETY": "filtered",
    "RECITATION": "filtered",
    "BLOCKLIST": "filtered",
    "PROHIBITED_CONTENT": "filtered",
    "SPII": "filtered",
}
_BROKEN_CALL = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE")
_OLD_MODEL = re.compile(r"(?:models/)?gemini-[12]\b")
# From the third generation on, a call of a tool is refused without the signature of the thought behind it. Ours may
# come from another provider's model, and carry none: this is Google's own word for that.
_NO_SIGNATURE = "skip_thought_signature_validator"


class Gemini:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        return await sent_in_some_form(
            _body(model, call),
            lambda body: self._sent(account, model, body, sink),
            lambda body, refusal: without_format(
                body, refusal, temperature=(_SETTINGS, "temperature"), formats=_FORMATS
            ),
        )

    async def models(self, account: Account) -> list[str]:
        url = f"{account.base_url.rstrip('/')}/models?pageSize=1000"
        body = await self._http.whole(account, Outgoing(url, _headers(account), method="GET"))
        try:
            found = _Models.model_validate_json(body).models
        except ValidationError as error:
            raise _unreadable() from error
        return [model.name.removeprefix("models/") for model in found]

    async def _sent(self, account: Account, model: str, body: JsonObject, sink: TextSink | None) -> ModelReply:
        method = "generateContent" if sink is None else "streamGenerateContent?alt=sse"
        name = quote(model.removeprefix("models/"), safe="")
        url = f"{account.base_url.rstrip('/')}/models/{name}:{method}"
        request = Outgoing(url, _headers(account), json.dumps(body).encode())
        draft = Draft(sink)
        reader = _Reader(draft)
        if sink is None:
            reader.read(await self._http.whole(account, request))
        else:
            async with self._http.streamed(account, request) as pieces:
                async for event in events(pieces):
                    reader.read(event.data)
        return draft.complete_reply(provider=account.name, model=model)


def _headers(account: Account) -> dict[str, str]:
    return {"Content-Type": "application/json", "x-goog-api-key": account.key}


def _body(model: str, call: ModelCall) -> JsonObject:
    signature = None if _OLD_MODEL.match(model) else _NO_SIGNATURE
    parts_of = partial(_parts, tool_names(call.messages), signature)
    sides: list[JsonValue] = [
        {"role": "model" if role == "assistant" else role, "parts": parts}
        for role, parts in together(call.messages, parts_of)
    ]
    body: JsonObject = {"contents": sides}
    system = system_of(call.messages)
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    if call.tools:
        declared: list[JsonValue] = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
            for tool in call.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
    settings = _settings(call)
    return {**body, _SETTINGS: settings} if settings else body


def _settings(call: ModelCall) -> JsonObject:
    settings: JsonObject = {}
    if call.temperature is not None:
        settings["temperature"] = call.temperature
    if call.max_tokens is not None:
        settings["maxOutputTokens"] = call.max_tokens
    if call.schema_ is not None:
        settings |= {"responseMimeType": "application/json", "responseJsonSchema": call.schema_}
    return settings


def _parts(called: Mapping[str, str], signature: str | None, message: Message) -> Sequence[JsonValue]:
    if message.role == "tool":
        name = called.get(message.answers or "", "unknown")
        return [{"functionResponse": {"name": name, "response": {"result": message.content}}}]
    images: list[JsonValue] = [
        {"inlineData": {"mimeType": image.media_type, "data": image.data}} for image in message.images
    ]
    text: list[JsonValue] = [{"text": message.content}] if message.content or not message.tool_calls else []
    calls: list[JsonValue] = []
    for call in message.tool_calls:
        part: JsonObject = {"functionCall": {"name": call.name, "args": call.arguments}}
        # Of calls that were made together, the first one is signed.
        if signature is not None and not calls:
            part["thoughtSignature"] = signature
        calls.append(part)
    return [*images, *text, *calls]


class _Function(Reply):
    id: str | None = None
    name: str
    args: JsonObject | None = None


class _Part(Reply):
    text: str = ""
    thought: bool = False
    functionCall: _Function | None = None  # noqa: N815  as Google writes it


class _Content(Reply):
    parts: tuple[_Part, ...] = ()


class _Candidate(Reply):
    content: _Content = _Content()
    finishReason: str | None = None  # noqa: N815


class _Feedback(Reply):
    blockReason: str | None = None  # noqa: N815


class _Usage(Reply):
    promptTokenCount: int = 0  # noqa: N815
    candidatesTokenCount: int = 0  # noqa: N815
    thoughtsTokenCount: int = 0  # noqa: N815
    toolUsePromptTokenCount: int = 0  # noqa: N815
    cachedContentTokenCount: int = 0  # noqa: N815


class _Answer(Reply):
    candidates: tuple[_Candidate, ...] = ()
    promptFeedback: _Feedback | None = None  # noqa: N815
    usageMetadata: _Usage | None = None  # noqa: N815
    error: Told | None = None


class _Model(Reply):
    name: str


class _Models(Reply):
    models: tuple[_Model, ...]


class _Reader:
    """One answer, in one piece or in many."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._calls = 0

    def read(self, data: str | bytes) -> None:
        try:
            answer = _Answer.model_validate_json(data)
        except ValidationError as error:
            raise _unreadable() from error
        if answer.error is not None:
            code = answer.error.code
            raise failure_told(code if isinstance(code, int) else 500, answer.error, tokens_paid=True)
        if answer.promptFeedback is not None and answer.promptFeedback.blockReason:
            raise ProviderError("filtered", f"its server blocked the prompt ({answer.promptFeedback.blockReason})")
        if answer.usageMetadata is not None:
            self._draft.tokens = _tokens(answer.usageMetadata)
        for candidate in answer.candidates[:1]:
            self._read(candidate)

    def _read(self, candidate: _Candidate) -> None:
        for part in candidate.content.parts:
            if part.functionCall is not None:
                call = part.functionCall
                self._draft.call(self._calls, id_=call.id, name=call.name, arguments=json.dumps(call.args or {}))
                self._calls += 1
            elif not part.thought:
                self._draft.say(part.text)
        if candidate.finishReason in _BROKEN_CALL:
            raise ProviderError("cut", "the tool call in its answer was malformed", tokens_paid=True)
        if candidate.finishReason is not None:
            self._draft.finish = _FINISHES.get(candidate.finishReason, "stop")


def _tokens(usage: _Usage) -> Tokens:
    return Tokens(
        input=usage.promptTokenCount + usage.toolUsePromptTokenCount,
        output=usage.candidatesTokenCount + usage.thoughtsTokenCount,
        cached=usage.cachedContentTokenCount,
    )


def _unreadable() -> ProviderError:
    return ProviderError("unreadable", "what its server answers is no answer of Gemini's", tokens_paid=True)
