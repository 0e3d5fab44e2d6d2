"""OpenAI's responses API inside the test (controls: see ``model_fake``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_testkit.model_fake import ModelFake, Says, event, halves, tokens_of
from crewmesh_testkit.requests_read import Conversation, RefusedError, Sent, read_json

_REASONS = {"length": "max_output_tokens", "filtered": "content_filter"}


@dataclass
class OpenAiResponsesFake(ModelFake[Conversation]):
    base_path = "/v1"

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/responses", self.serve)
        router.add_get("/v1/models", self.listed({"object": "list", "data": [{"id": "fake", "object": "model"}]}))

    def check_key(self, request: web.Request) -> None:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            raise RefusedError("Incorrect API key provided.", status=401, code="invalid_api_key")

    def read(self, request: web.Request, body: bytes) -> Conversation:
        self.check_key(request)
        sent = read_json(body)
        reader = _Reader()
        for item in sent.objects("input"):
            reader.read(item)
        format_ = sent.object("text", needed=False).object("format", needed=False)
        return Conversation(
            model=sent.text("model", empty=False),
            prompt="\n".join(reader.texts),
            document=sent.document,
            images=reader.images,
            tools=tuple(tool.text("name") for tool in sent.objects("tools", needed=False) if tool.object("parameters")),
            schema=format_.object("schema", needed=False).document or None,
            most_tokens=sent.number("max_output_tokens"),
            streamed=sent.document.get("stream") is True,
        )

    def whole(self, asked: Conversation, says: Says) -> JsonObject:
        status = "incomplete" if says.finish in _REASONS else "completed"
        details: JsonValue = {"reason": _REASONS[says.finish]} if says.finish in _REASONS else None
        response: JsonObject = {
            "id": "resp_fake",
            "object": "response",
            "status": status,
            "incomplete_details": details,
            "error": None,
            "model": asked.model,
            "output": [{"type": "reasoning", "id": "rs_1", "summary": []}, *self._items(says)],
        }
        if self.counts_tokens:
            response["usage"] = {
                "input_tokens": tokens_of(asked.prompt),
                "input_tokens_details": {"cached_tokens": says.cached},
                "output_tokens": says.tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": tokens_of(asked.prompt) + says.tokens,
            }
        return response

    def frames(self, asked: Conversation, says: Says) -> Sequence[bytes]:
        begun: JsonObject = {"id": "resp_fake", "status": "in_progress", "output": []}
        told: list[JsonObject] = [{"type": "response.created", "response": begun}]
        for word in says.words:
            told.append({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": word})
        for at, use in enumerate(says.tools, start=2):
            item: JsonObject = {"type": "function_call", "id": f"fc_{at}", "call_id": f"call_{at}", "name": use.name}
            told.append({"type": "response.output_item.added", "output_index": at, "item": {**item, "arguments": ""}})
            for piece in halves(use.written):
                told.append({"type": "response.function_call_arguments.delta", "output_index": at, "delta": piece})
            told.append({"type": "response.function_call_arguments.done", "output_index": at, "arguments": use.written})
        whole = self.whole(asked, says)
        told.append({"type": f"response.{whole['status']}", "response": whole})
        return [event({**each, "sequence_number": number}, name=str(each["type"])) for number, each in enumerate(told)]

    def error(self, status: int, message: str, code: str, parameter: str) -> web.Response:
        told: JsonObject = {"message": message, "type": "error", "param": parameter or None, "code": code}
        return web.json_response({"error": told}, status=status)

    def _items(self, says: Says) -> list[JsonValue]:
        items: list[JsonValue] = []
        if says.text:
            part: JsonObject = {"type": "output_text", "text": says.text, "annotations": []}
            items.append({"type": "message", "id": "msg_1", "role": "assistant", "content": [part]})
        for at, use in enumerate(says.tools, start=2):
            call: JsonObject = {"type": "function_call", "call_id": f"call_{at}", "name": use.name}
            items.append({**call, "arguments": use.written})
        return items


class _Reader:
    """The items of the conversation: every result belongs to a call before it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images = 0
        self._called: set[str] = set()

    def read(self, item: Sent) -> None:
        match item.text("type"):
            case "function_call":
                item.text("arguments")
                self._called.add(item.text("call_id", empty=False))
            case "function_call_output":
                if item.text("call_id") not in self._called:
                    raise RefusedError(f"No tool call found for function call output {item.text('call_id')}.")
                self.texts.append(item.text("output"))
            case "message":
                for part in item.objects("content"):
                    self._read(part, "output_text" if item.text("role") == "assistant" else "input_text")
            case other:
                raise RefusedError(f"Invalid value: {other!r}.", parameter="input")

    def _read(self, part: Sent, kind: str) -> None:
        if part.text("type") == "input_image":
            part.data_url("image_url")
            self.images += 1
        elif part.text("type") == kind:
            self.texts.append(part.text("text"))
        else:
            raise RefusedError(f"Invalid value: {part.text('type')!r}.", parameter="input")
