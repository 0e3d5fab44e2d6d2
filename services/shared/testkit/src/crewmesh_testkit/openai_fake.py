"""An OpenAI-compatible server inside the test: chat completions, whole and streamed (controls: see ``model_fake``).

It requires what OpenAI requires, and answers errors in OpenAI's shape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self, cast

from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crewmesh_testkit.model_fake import ModelFake, Says, event, halves, tokens_of
from crewmesh_testkit.requests_read import RefusedError

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FINISHES = {"stop": "stop", "length": "length", "filtered": "content_filter"}


class Part(BaseModel):
    type: Literal["text", "image_url"]
    text: str = ""
    image_url: dict[str, str] = {}

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.type == "image_url" and not self.image_url.get("url", "").startswith(("data:image/", "https://")):
            raise ValueError("image_url.url must be a data URL or https")
        return self


class Function(BaseModel):
    name: str
    arguments: str


class Call(BaseModel):
    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"]
    function: Function


class Message(BaseModel):
    """``content`` is the text, also of a message in parts."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""
    images: list[str] = []
    tool_calls: list[Call] = []
    tool_call_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _flattened(cls, sent: JsonObject) -> JsonObject:
        content = sent.get("content")
        if content is None and not sent.get("tool_calls"):
            raise ValueError("content is needed")
        if not isinstance(content, list):
            return {**sent, "content": content or ""}
        parts = [Part.model_validate(part) for part in content]
        text = "".join(part.text for part in parts)
        images: list[JsonValue] = [part.image_url["url"] for part in parts if part.type == "image_url"]
        return {**sent, "content": text, "images": images}


class ToolFunction(BaseModel):
    name: str
    description: str = ""
    parameters: dict[str, JsonValue] = {}


class Tool(BaseModel):
    type: Literal["function"]
    function: ToolFunction


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request as it arrived. Parameters that the fake does not look at are in ``model_extra``."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    tools: list[Tool] = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    authorization: str = ""

    @property
    def prompt(self) -> str:
        """Everything the model was shown, in order."""
        return "\n".join(message.content for message in self.messages)

    @property
    def most_tokens(self) -> int | None:
        return self.max_tokens or self.max_completion_tokens

    @property
    def streamed(self) -> bool:
        return self.stream

    @property
    def last(self) -> Message:
        return self.messages[-1]

    @property
    def call_ids(self) -> list[str]:
        return [call.id for message in self.messages for call in message.tool_calls]

    @property
    def schema_asked_for(self) -> JsonObject | None:
        """The JSON Schema that the answer has to follow."""
        format_ = cast(JsonObject, (self.model_extra or {}).get("response_format") or {})
        exactly = format_.get("json_schema")
        schema = exactly.get("schema") if isinstance(exactly, dict) else None
        return schema if isinstance(schema, dict) else None

    @property
    def tool_names(self) -> list[str]:
        return [tool.function.name for tool in self.tools]


@dataclass
class OpenAiFake(ModelFake[ChatRequest]):
    """``refuses``: parameters that this server does not take, as newer models do not take max_tokens.

    ``counts_unasked``: a stream ends with the usage whether it was asked for or not. ``call_ids``: what the ids of tool
    calls have to look like.
    """

    refuses: frozenset[str] = field(default=frozenset())
    counts_unasked: bool = False
    call_ids: str = r".{1,40}"

    base_path = "/v1"

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/chat/completions", self.serve)
        model: JsonObject = {"id": "fake", "object": "model", "owned_by": "test"}
        router.add_get("/v1/models", self.listed({"object": "list", "data": [model]}))

    def read(self, request: web.Request, body: bytes) -> ChatRequest:
        self.check_key(request)
        try:
            asked = ChatRequest.model_validate_json(body)
        except ValidationError as error:
            raise RefusedError(str(error)) from error
        for name in self.refuses & {*asked.model_fields_set, *(asked.model_extra or {})}:
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise RefusedError(message, code="unsupported_parameter", parameter=name)
        for id_ in asked.call_ids:
            if not re.fullmatch(self.call_ids, id_):
                raise RefusedError(f"Tool call id was {id_} but must match {self.call_ids}.")
        _check_tools(asked)
        _check_format(asked)
        return asked.model_copy(update={"authorization": request.headers.get("Authorization", "")})

    def check_key(self, request: web.Request) -> None:
        told = request.headers.get("Authorization", "")
        if self.api_key and told != f"Bearer {self.api_key}":
            # As the real one does, it says what it was given.
            message = f"Incorrect API key provided: {told.removeprefix('Bearer ')}."
            raise RefusedError(message, status=401, code="invalid_api_key")

    def whole(self, asked: ChatRequest, says: Says) -> JsonObject:
        message: JsonObject = {"role": "assistant", "content": says.text}
        if says.tools:
            message["content"] = says.text or None
            message["tool_calls"] = [
                {"id": self.call_id(at), "type": "function", "function": {"name": use.name, "arguments": use.written}}
                for at, use in enumerate(says.tools)
            ]
        answer: JsonObject = {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 1,
            "model": asked.model,
            "choices": [{"index": 0, "message": message, "finish_reason": _finish(says)}],
        }
        if self.counts_tokens:
            answer["usage"] = _usage(asked, says)
        return answer

    def frames(self, asked: ChatRequest, says: Says) -> Sequence[bytes]:
        frames = [_chunk(asked, {"role": "assistant", "content": ""})]
        frames += [_chunk(asked, {"content": word}) for word in says.words]
        for at, use in enumerate(says.tools):
            named: JsonObject = {"name": use.name, "arguments": ""}
            frames.append(_call_chunk(asked, {"index": at, "id": self.call_id(at), "type": "function"}, named))
            frames += [_call_chunk(asked, {"index": at}, {"arguments": piece}) for piece in halves(use.written)]
        frames.append(_chunk(asked, {}, finish=_finish(says)))
        wanted = asked.stream_options is not None and asked.stream_options.include_usage
        if self.counts_tokens and (wanted or self.counts_unasked):
            frames.append(event({**_head(asked), "choices": [], "usage": _usage(asked, says)}))
        return [*frames, b"data: [DONE]\n\n"]

    def error(self, status: int, message: str, code: str, parameter: str) -> web.Response:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        told: JsonObject = {"message": message, "type": kind, "param": parameter or None, "code": code}
        return web.json_response({"error": told}, status=status)


def _head(asked: ChatRequest) -> JsonObject:
    return {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": asked.model}


def _chunk(asked: ChatRequest, delta: JsonObject, *, finish: str | None = None) -> bytes:
    return event({**_head(asked), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None})


def _call_chunk(asked: ChatRequest, call: JsonObject, function: JsonObject) -> bytes:
    return _chunk(asked, {"tool_calls": [{**call, "function": function}]})


def _finish(says: Says) -> str:
    return "tool_calls" if says.tools else _FINISHES[says.finish]


def _usage(asked: ChatRequest, says: Says) -> JsonObject:
    prompt = tokens_of(asked.prompt)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": says.tokens,
        "total_tokens": prompt + says.tokens,
        "prompt_tokens_details": {"cached_tokens": says.cached},
    }


def _check_tools(asked: ChatRequest) -> None:
    """Names as OpenAI takes them; every call answered before anything else is said, and nothing answered twice."""
    for name in asked.tool_names:
        if not _TOOL_NAME.fullmatch(name):
            raise RefusedError(f"Invalid 'tools.function.name': {name!r}.", parameter="tools")
    waiting: set[str] = set()
    for message in asked.messages:
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise RefusedError("messages with role 'tool' must be a response to a preceding message's tool_calls.")
            waiting.discard(message.tool_call_id)
            continue
        if waiting:
            raise RefusedError(f"An assistant message's tool_calls were not answered: {', '.join(sorted(waiting))}.")
        waiting = {call.id for call in message.tool_calls}
    if waiting:
        raise RefusedError(f"An assistant message's tool_calls were not answered: {', '.join(sorted(waiting))}.")


def _check_format(asked: ChatRequest) -> None:
    match (asked.model_extra or {}).get("response_format"):
        case None | {"type": "text"}:
            return
        case {"type": "json_object"}:
            if "json" not in asked.prompt.lower():
                raise RefusedError("'messages' must contain the word 'json' to use 'response_format' json_object.")
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict()}}:
            return
        case _:
            raise RefusedError("Invalid 'response_format'.", parameter="response_format")


__all__ = ["ChatRequest", "Message", "OpenAiFake", "Says", "tokens_of"]
