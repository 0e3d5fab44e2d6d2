"""Ollama's chat API inside the test (controls: see ``model_fake``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_testkit.model_fake import ModelFake, Says, tokens_of
from crewmesh_testkit.requests_read import Conversation, RefusedError, read_json

_REASONS = {"stop": "stop", "length": "length", "filtered": "stop"}


@dataclass
class OllamaFake(ModelFake[Conversation]):
    stream_type = "application/x-ndjson"

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/api/chat", self.serve)
        router.add_get("/api/tags", self.listed({"models": [{"name": "fake"}]}))

    def check_key(self, request: web.Request) -> None:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            raise RefusedError("unauthorized", status=401)

    def read(self, request: web.Request, body: bytes) -> Conversation:
        self.check_key(request)
        sent = read_json(body)
        texts: list[str] = []
        images = 0
        for message in sent.objects("messages"):
            if message.text("role") not in ("system", "user", "assistant", "tool"):
                raise RefusedError("invalid role")
            texts.append(message.text("content"))
            pictures = message.document.get("images")
            images += len(pictures) if isinstance(pictures, list) else 0
            for call in message.objects("tool_calls", needed=False):
                call.object("function").object("arguments")
            if message.text("role") == "tool":
                message.text("tool_name")
        options = sent.object("options", needed=False)
        return Conversation(
            model=sent.text("model", empty=False),
            prompt="\n".join(texts),
            document=sent.document,
            images=images,
            tools=tuple(tool.object("function").text("name") for tool in sent.objects("tools", needed=False)),
            schema=sent.object("format", needed=False).document or None,
            most_tokens=options.number("num_predict"),
            streamed=sent.document.get("stream") is not False,
        )

    def whole(self, asked: Conversation, says: Says) -> JsonObject:
        return {**self._end(asked, says), "message": _message(says.text, says)}

    def frames(self, asked: Conversation, says: Says) -> Sequence[bytes]:
        told: list[JsonObject] = [
            {"model": asked.model, "message": {"role": "assistant", "content": word}, "done": False}
            for word in says.words
        ]
        if says.tools:
            told.append({"model": asked.model, "message": _message("", says), "done": False})
        told.append({**self._end(asked, says), "message": {"role": "assistant", "content": ""}})
        return [json.dumps(each).encode() + b"\n" for each in told]

    def garbage(self) -> bytes:
        return b'{"this is": no JSON\n'

    def error(self, status: int, message: str, code: str, parameter: str) -> web.Response:
        return web.json_response({"error": message}, status=status)

    def _end(self, asked: Conversation, says: Says) -> JsonObject:
        end: JsonObject = {"model": asked.model, "done": True, "done_reason": _REASONS[says.finish]}
        if self.counts_tokens:
            end |= {"prompt_eval_count": tokens_of(asked.prompt), "eval_count": says.tokens}
        return end


def _message(text: str, says: Says) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": text}
    calls: list[JsonValue] = [{"function": {"name": use.name, "arguments": use.given}} for use in says.tools]
    return {**message, "tool_calls": calls} if calls else message
