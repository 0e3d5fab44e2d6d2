"""Google's Gemini API inside the test (controls: see ``model_fake``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_testkit.model_fake import ModelFake, Says, event, tokens_of
from crewmesh_testkit.requests_read import Conversation, RefusedError, Sent, read_json

_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "filtered": "SAFETY"}


@dataclass
class GeminiFake(ModelFake[Conversation]):
    """``wants_signatures``: it is of the generation that refuses calls without the thought behind them."""

    wants_signatures: bool = True

    base_path = "/v1beta"

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1beta/models/{method}", self.serve)
        router.add_get("/v1beta/models", self.listed({"models": [{"name": "models/fake"}]}))

    def check_key(self, request: web.Request) -> None:
        if self.api_key and request.headers.get("x-goog-api-key") != self.api_key:
            raise RefusedError("API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")

    def read(self, request: web.Request, body: bytes) -> Conversation:
        self.check_key(request)
        model, _, method = request.match_info["method"].partition(":")
        streamed = method == "streamGenerateContent"
        if not streamed and method != "generateContent":
            raise RefusedError("Not Found", status=404)
        if streamed and request.query.get("alt") != "sse":
            raise RefusedError("This fake streams server-sent events only.")
        sent = read_json(body)
        sent.only("contents", "systemInstruction", "tools", "generationConfig")
        tools = [
            declared.text("name")
            for tool in sent.objects("tools", needed=False)
            for declared in tool.objects("functionDeclarations")
        ]
        settings = sent.object("generationConfig", needed=False)
        settings.only("temperature", "maxOutputTokens", "responseMimeType", "responseJsonSchema")
        if tools and "responseMimeType" in settings.document and not self.wants_signatures:
            message = "Function calling with a response mime type: 'application/json' is unsupported"
            raise RefusedError(message, code="INVALID_ARGUMENT")
        texts, images = self._read(sent)
        return Conversation(
            model=model,
            prompt="\n".join(texts),
            document=sent.document,
            images=images,
            tools=tuple(tools),
            schema=settings.object("responseJsonSchema", needed=False).document or None,
            most_tokens=settings.number("maxOutputTokens"),
            streamed=streamed,
        )

    def _read(self, sent: Sent) -> tuple[list[str], int]:
        system = sent.object("systemInstruction", needed=False)
        texts = [part.text("text") for part in system.objects("parts", needed=False)]
        images = 0
        for content in sent.objects("contents"):
            if content.text("role") not in ("user", "model"):
                raise RefusedError("Please use a valid role: user, model.")
            signed = not self.wants_signatures
            for part in content.objects("parts"):
                match list(part.document.keys() - {"thoughtSignature"}):
                    case ["text"]:
                        texts.append(part.text("text"))
                    case ["inlineData"]:
                        part.object("inlineData").base64("data")
                        images += 1
                    case ["functionCall"]:
                        part.object("functionCall").object("args")
                        signed = signed or "thoughtSignature" in part.document
                        if not signed:
                            raise RefusedError("Function call is missing a thought_signature in functionCall parts.")
                    case ["functionResponse"]:
                        texts.append(json.dumps(part.object("functionResponse").object("response").document))
                    case other:
                        raise RefusedError(f"Unknown part {other}.")
        return texts, images

    def whole(self, asked: Conversation, says: Says) -> JsonObject:
        parts: list[JsonValue] = [{"text": says.text}] if says.text else []
        return self._piece(asked, says, [*parts, *_calls(says)], last=True)

    def frames(self, asked: Conversation, says: Says) -> Sequence[bytes]:
        told = [self._piece(asked, says, [{"text": "Let me think.", "thought": True}], last=False)]
        told += [self._piece(asked, says, [{"text": word}], last=False) for word in says.words]
        told += [self._piece(asked, says, [call], last=False) for call in _calls(says)]
        return [event(each) for each in [*told, self._piece(asked, says, [{"text": ""}], last=True)]]

    def error(self, status: int, message: str, code: str, parameter: str) -> web.Response:
        told: JsonObject = {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}
        return web.json_response({"error": told}, status=status)

    def _piece(self, asked: Conversation, says: Says, parts: list[JsonValue], *, last: bool) -> JsonObject:
        candidate: JsonObject = {"content": {"role": "model", "parts": parts}, "index": 0}
        if last:
            candidate["finishReason"] = _REASONS[says.finish]
        answer: JsonObject = {"candidates": [candidate], "modelVersion": asked.model}
        if self.counts_tokens:
            answer["usageMetadata"] = {
                "promptTokenCount": tokens_of(asked.prompt),
                "cachedContentTokenCount": says.cached,
                "candidatesTokenCount": says.tokens if last else 1,
                "totalTokenCount": tokens_of(asked.prompt) + says.tokens,
            }
        return answer


def _calls(says: Says) -> list[JsonValue]:
    return [
        {"functionCall": {"name": use.name, "args": use.given}, "thoughtSignature": "c2lnbmVk"} for use in says.tools
    ]
