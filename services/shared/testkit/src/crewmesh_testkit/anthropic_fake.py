"""Anthropic's messages API inside the test (controls: see ``model_fake``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_testkit.model_fake import ModelFake, Says, event, halves, tokens_of
from crewmesh_testkit.requests_read import Conversation, RefusedError, Sent, read_json

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 413: "request_too_large", 429: "rate_limit_error"}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "filtered": "refusal"}
_KNOWN = ("model", "max_tokens", "messages", "system", "temperature", "tools", "tool_choice", "stream", "output_config")


@dataclass
class AnthropicFake(ModelFake[Conversation]):
    base_path = "/v1"

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/messages", self.serve)
        router.add_get("/v1/models", self.listed({"data": [{"type": "model", "id": "fake"}], "has_more": False}))

    def check_key(self, request: web.Request) -> None:
        if "anthropic-version" not in request.headers:
            raise RefusedError("anthropic-version: header is required.")
        if self.api_key and request.headers.get("x-api-key") != self.api_key:
            raise RefusedError("invalid x-api-key", status=401, code="authentication_error")

    def read(self, request: web.Request, body: bytes) -> Conversation:
        self.check_key(request)
        sent = read_json(body)
        sent.only(*_KNOWN)
        if sent.number("max_tokens") is None:
            raise RefusedError("max_tokens: Field required.")
        tools = [tool.text("name") for tool in sent.objects("tools", needed=False) if tool.object("input_schema")]
        reader = _Reader(with_tools=bool(tools))
        for message in sent.objects("messages"):
            reader.read(message)
        format_ = sent.object("output_config", needed=False).object("format", needed=False)
        system = [sent.text("system")] if "system" in sent.document else []
        return Conversation(
            model=sent.text("model", empty=False),
            prompt="\n".join([*system, *reader.texts]),
            document=sent.document,
            images=reader.images,
            tools=tuple(tools),
            schema=format_.object("schema", needed=False).document or None,
            most_tokens=sent.number("max_tokens"),
            streamed=sent.document.get("stream") is True,
        )

    def whole(self, asked: Conversation, says: Says) -> JsonObject:
        text: list[JsonValue] = [{"type": "text", "text": says.text}] if says.text else []
        uses: list[JsonValue] = [
            {"type": "tool_use", "id": self.call_id(at), "name": use.name, "input": use.given}
            for at, use in enumerate(says.tools)
        ]
        answer: JsonObject = {**_head(asked), "content": [*text, *uses], "stop_reason": _reason(says)}
        if self.counts_tokens:
            answer["usage"] = {**_read_tokens(asked, says), "output_tokens": says.tokens}
        return answer

    def frames(self, asked: Conversation, says: Says) -> Sequence[bytes]:
        begun: JsonObject = {**_head(asked), "content": [], "usage": {**_read_tokens(asked, says), "output_tokens": 1}}
        told: list[JsonObject] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
        if says.text:
            told += _block(0, {"type": "text", "text": ""}, [{"type": "text_delta", "text": w} for w in says.words])
        for at, use in enumerate(says.tools, start=1):
            block: JsonObject = {"type": "tool_use", "id": self.call_id(at), "name": use.name, "input": {}}
            told += _block(at, block, [{"type": "input_json_delta", "partial_json": p} for p in halves(use.written)])
        ended: JsonObject = {"stop_reason": _reason(says), "stop_sequence": None}
        told.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": says.tokens}})
        told.append({"type": "message_stop"})
        return [event(each, name=str(each["type"])) for each in told]

    def error(self, status: int, message: str, code: str, parameter: str) -> web.Response:
        kind = "overloaded_error" if status == 529 else _KINDS.get(status, "api_error")
        return web.json_response({"type": "error", "error": {"type": kind, "message": message}}, status=status)


def _head(asked: Conversation) -> JsonObject:
    return {"id": "msg_fake", "type": "message", "role": "assistant", "model": asked.model}


def _block(at: int, block: JsonObject, deltas: list[JsonObject]) -> list[JsonObject]:
    begun: JsonObject = {"type": "content_block_start", "index": at, "content_block": block}
    told: list[JsonObject] = [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
    return [begun, *told, {"type": "content_block_stop", "index": at}]


def _reason(says: Says) -> str:
    return "tool_use" if says.tools else _REASONS[says.finish]


def _read_tokens(asked: Conversation, says: Says) -> JsonObject:
    """What comes from the cache is counted beside the rest."""
    read = tokens_of(asked.prompt) - says.cached
    return {"input_tokens": read, "cache_read_input_tokens": says.cached, "cache_creation_input_tokens": 0}


class _Reader:
    """The conversation, as strictly as it is read there: calls are answered in the next message, and only there."""

    def __init__(self, *, with_tools: bool) -> None:
        self.texts: list[str] = []
        self.images = 0
        self._with_tools = with_tools
        self._waiting: set[str] = set()

    def read(self, message: Sent) -> None:
        waiting, self._waiting = self._waiting, set[str]()
        if message.text("role") not in ("user", "assistant"):
            raise RefusedError(f"messages: unexpected role {message.text('role')!r}.")
        for part in message.objects("content"):
            self._read(part, waiting)
        if waiting:
            raise RefusedError("messages: tool_use ids were found without tool_result blocks immediately after.")

    def _read(self, part: Sent, waiting: set[str]) -> None:
        match part.text("type"):
            case "text":
                self.texts.append(part.text("text", empty=False))
            case "image":
                part.object("source").base64("data")
                self.images += 1
            case "tool_use":
                self._check_tools()
                if not _ID.fullmatch(part.text("id")):
                    raise RefusedError("messages.content.tool_use.id: String should match pattern.")
                part.object("input")
                self._waiting.add(part.text("id"))
            case "tool_result":
                self._check_tools()
                if part.text("tool_use_id") not in waiting:
                    raise RefusedError(f"messages: unexpected tool_use_id {part.text('tool_use_id')}.")
                waiting.discard(part.text("tool_use_id"))
                self.texts.append(part.text("content"))
            case other:
                raise RefusedError(f"messages.content: unknown type {other!r}.")

    def _check_tools(self) -> None:
        if not self._with_tools:
            raise RefusedError("Requests which include `tool_use` or `tool_result` blocks must define tools.")
