"""Amazon Bedrock's Converse API inside the test (controls: see ``model_fake``).

With ``api_key`` set it wants requests signed with it, and checks the signature as AWS does, from what really arrived.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_testkit.model_fake import ModelFake, Says, halves, tokens_of
from crewmesh_testkit.requests_read import Conversation, RefusedError, Sent, read_json

_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<scope>\d{8}/[\w-]+/bedrock/aws4_request),"
    r" SignedHeaders=(?P<names>[\w;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REASONS = {"stop": "end_turn", "length": "max_tokens", "filtered": "content_filtered"}
_KINDS = {400: "ValidationException", 403: "UnrecognizedClientException", 429: "ThrottlingException"}
_KNOWN = ("messages", "system", "inferenceConfig", "toolConfig", "outputConfig")


@dataclass
class BedrockFake(ModelFake[Conversation]):
    stream_type = "application/vnd.amazon.eventstream"

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/model/{model}/{method}", self.serve)
        router.add_get("/foundation-models", self.listed({"modelSummaries": [{"modelId": "fake"}]}))

    def check_key(self, request: web.Request, body: bytes = b"") -> None:
        if not self.api_key:
            return
        told = request.headers.get("Authorization", "")
        if told == f"Bearer {self.api_key}":
            return
        matched = _CREDENTIAL.fullmatch(told)
        if matched is None or not hmac.compare_digest(
            matched["signature"], _signature(request, body, self.api_key, matched["scope"], matched["names"])
        ):
            raise RefusedError("The security token included in the request is invalid.", status=403)

    def read(self, request: web.Request, body: bytes) -> Conversation:
        self.check_key(request, body)
        sent = read_json(body)
        sent.only(*_KNOWN)
        tools = [
            tool.object("toolSpec").text("name")
            for tool in sent.object("toolConfig", needed=False).objects("tools", needed=False)
        ]
        for tool in sent.object("toolConfig", needed=False).objects("tools", needed=False):
            tool.object("toolSpec").text("description", empty=False)
            tool.object("toolSpec").object("inputSchema").object("json")
        reader = _Reader(with_tools=bool(tools))
        for message in sent.objects("messages"):
            reader.read(message)
        system = [part.text("text", empty=False) for part in sent.objects("system", needed=False)]
        return Conversation(
            model=request.match_info["model"],
            prompt="\n".join([*system, *reader.texts]),
            document=sent.document,
            images=reader.images,
            tools=tuple(tools),
            schema=_schema(sent),
            most_tokens=sent.object("inferenceConfig", needed=False).number("maxTokens"),
            streamed=request.match_info["method"] == "converse-stream",
        )

    def whole(self, asked: Conversation, says: Says) -> JsonObject:
        text: list[JsonValue] = [{"text": says.text}] if says.text else []
        uses: list[JsonValue] = [
            {"toolUse": {"toolUseId": self.call_id(at), "name": use.name, "input": use.given}}
            for at, use in enumerate(says.tools)
        ]
        answer: JsonObject = {
            "output": {"message": {"role": "assistant", "content": [*text, *uses]}},
            "stopReason": _reason(says),
            "metrics": {"latencyMs": 1},
        }
        return {**answer, "usage": _usage(asked, says)} if self.counts_tokens else answer

    def frames(self, asked: Conversation, says: Says) -> Sequence[bytes]:
        told = [frame("messageStart", {"role": "assistant"})]
        told += [frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}}) for word in says.words]
        told.append(frame("contentBlockStop", {"contentBlockIndex": 0}))
        for at, use in enumerate(says.tools, start=1):
            begun: JsonObject = {"toolUse": {"toolUseId": self.call_id(at), "name": use.name}}
            told.append(frame("contentBlockStart", {"contentBlockIndex": at, "start": begun}))
            for piece in halves(use.written):
                delta: JsonObject = {"toolUse": {"input": piece}}
                told.append(frame("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}))
        told.append(frame("messageStop", {"stopReason": _reason(says)}))
        return [*told, frame("metadata", {"usage": _usage(asked, says), "metrics": {"latencyMs": 1}})]

    def garbage(self) -> bytes:
        return b"\0" * 64

    def error(self, status: int, message: str, code: str, parameter: str) -> web.Response:
        headers = {"x-amzn-ErrorType": _KINDS.get(status, "InternalServerException")}
        return web.json_response({"message": message}, status=status, headers=headers)


def frame(name: str, payload: JsonObject, *, kind: str = "event") -> bytes:
    """One message of an event stream."""
    told = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in told.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


def _signature(request: web.Request, body: bytes, secret: str, scope: str, names: str) -> str:
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names.split(";"))
    path, _, query = request.raw_path.partition("?")
    canonical = "\n".join(
        [request.method, quote(path), query, headers, names, hashlib.sha256(body).hexdigest()]
    ).encode()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    instant = request.headers["x-amz-date"]
    to_sign = f"AWS4-HMAC-SHA256\n{instant}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _schema(sent: Sent) -> JsonObject | None:
    """Here alone the schema travels as text."""
    format_ = sent.object("outputConfig", needed=False).object("textFormat", needed=False)
    if not format_.document:
        return None
    if format_.text("type") != "json_schema":
        raise RefusedError("outputConfig.textFormat.type: must be json_schema.")
    return read_json(format_.object("structure").object("jsonSchema").text("schema").encode()).document


def _reason(says: Says) -> str:
    return "tool_use" if says.tools else _REASONS[says.finish]


def _usage(asked: Conversation, says: Says) -> JsonObject:
    read = tokens_of(asked.prompt)
    return {
        "inputTokens": read - says.cached,
        "cacheReadInputTokens": says.cached,
        "outputTokens": says.tokens,
        "totalTokens": read + says.tokens,
    }


class _Reader:
    """The conversation: two sides in turns, calls answered at once."""

    def __init__(self, *, with_tools: bool) -> None:
        self.texts: list[str] = []
        self.images = 0
        self._with_tools = with_tools
        self._waiting: set[str] = set()
        self._last = ""

    def read(self, message: Sent) -> None:
        role = message.text("role")
        if role not in ("user", "assistant") or role == self._last:
            raise RefusedError("A conversation must alternate between user and assistant roles.")
        self._last = role
        waiting, self._waiting = self._waiting, set[str]()
        for part in message.objects("content"):
            self._read(part, waiting)
        if waiting:
            raise RefusedError("Expected toolResult blocks for the toolUse blocks of the turn before.")

    def _read(self, part: Sent, waiting: set[str]) -> None:
        match list(part.document):
            case ["text"]:
                self.texts.append(part.text("text", empty=False))
            case ["image"]:
                part.object("image").text("format", empty=False)
                part.object("image").object("source").base64("bytes")
                self.images += 1
            case ["toolUse"]:
                use = self._with(part.object("toolUse"))
                use.object("input")
                self._waiting.add(use.text("toolUseId"))
            case ["toolResult"]:
                result = self._with(part.object("toolResult"))
                waiting.discard(result.text("toolUseId"))
                self.texts += [each.text("text", empty=False) for each in result.objects("content")]
            case other:
                raise RefusedError(f"Unknown content block {other}.")

    def _with(self, block: Sent) -> Sent:
        if not self._with_tools:
            raise RefusedError("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        if not _ID.fullmatch(block.text("toolUseId")):
            raise RefusedError("toolUseId: must satisfy the pattern [a-zA-Z0-9_-]+.")
        return block
