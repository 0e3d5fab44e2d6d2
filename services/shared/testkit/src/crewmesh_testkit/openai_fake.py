"""An OpenAI-compatible server inside the test: it answers what it was told, counts tokens, fails and dawdles on demand.

::

    async with OpenAiFake() as server:
        server.answers("First answer", "Second answer")        # then "ok" for ever
        server.fails(429, times=2, retry_after="0")            # the next two requests
        server.cuts(times=1)                                    # the next breaks off in the middle of its answer
        server.delay = 5.0                                      # every answer is slow
        ...  # ask server.url
        assert server.requests[0].prompt == "…"

It speaks both whole and streamed answers, requires what OpenAI requires, and answers errors in OpenAI's shape.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from aiohttp import web
from crewmesh_contracts.base import JsonObject
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request as it arrived. Parameters that the fake does not look at are in ``model_extra``."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    authorization: str = ""

    @property
    def prompt(self) -> str:
        """Everything the model was shown, in order."""
        return "\n".join(message.content for message in self.messages)


Answer = str | Callable[[ChatRequest], str]


@dataclass(frozen=True)
class _Failure:
    status: int
    retry_after: str | None
    body: bytes | None
    cut: bool = False


@dataclass
class OpenAiFake:
    """``url`` is what a client is given as its base URL. ``api_key``: when set, other keys are refused."""

    api_key: str = ""
    delay: float = 0.0
    counts_tokens: bool = True
    requests: list[ChatRequest] = field(default_factory=list[ChatRequest])
    abandoned: int = 0
    most_at_once: int = 0
    _answers: deque[Answer] = field(default_factory=deque[Answer])
    _failures: deque[_Failure] = field(default_factory=deque[_Failure])
    _at_once: int = 0
    _runner: web.AppRunner | None = None
    url: str = ""

    def answers(self, *answers: Answer) -> None:
        """What the next requests get; a function is shown the request."""
        self._answers.extend(answers)

    def fails(self, status: int, *, times: int = 1, retry_after: str | None = None, body: bytes | None = None) -> None:
        """The next requests fail; with ``body`` they get exactly that instead of an error document."""
        self._failures.extend([_Failure(status, retry_after, body)] * times)

    def cuts(self, *, times: int = 1) -> None:
        """The connection of the next requests breaks in the middle of the answer."""
        self._failures.extend([_Failure(200, None, None, cut=True)] * times)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "fake", "object": "model", "owned_by": "test"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._answer(request)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        finally:
            self._at_once -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        if self.api_key and authorization != f"Bearer {self.api_key}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        try:
            asked = ChatRequest.model_validate_json(await request.read())
        except ValidationError as error:
            return _error(400, str(error), "invalid_request")
        self.requests.append(asked.model_copy(update={"authorization": authorization}))
        if self._failures:
            failure = self._failures.popleft()
            return await _cut_off(request) if failure.cut else _failed(failure)
        await asyncio.sleep(self.delay)
        text, reason = _cut(self._next_answer(asked), asked.max_tokens)
        return await self._streamed(request, asked, text, reason) if asked.stream else self._whole(asked, text, reason)

    def _next_answer(self, asked: ChatRequest) -> str:
        answer = self._answers.popleft() if self._answers else "ok"
        return answer if isinstance(answer, str) else answer(asked)

    def _usage(self, asked: ChatRequest, text: str) -> JsonObject:
        prompt, completion = tokens_of(asked.prompt), tokens_of(text)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _whole(self, asked: ChatRequest, text: str, reason: str) -> web.Response:
        message: JsonObject = {"role": "assistant", "content": text}
        answer: JsonObject = {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 1,
            "model": asked.model,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        }
        if self.counts_tokens:
            answer["usage"] = self._usage(asked, text)
        return web.json_response(answer)

    async def _streamed(self, request: web.Request, asked: ChatRequest, text: str, reason: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(choices: list[JsonObject], usage: JsonObject | None = None) -> None:
            chunk = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": asked.model}
            payload = json.dumps({**chunk, "choices": choices, "usage": usage})
            await response.write(f"data: {payload}\n\n".encode())

        await send([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        for word in text.split(" "):
            await send([{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}])
        await send([{"index": 0, "delta": {}, "finish_reason": reason}])
        if asked.stream_options.include_usage:
            await send([], self._usage(asked, text))
        await response.write(b"data: [DONE]\n\n")
        return response


def tokens_of(text: str) -> int:
    """The fake's tokens are words."""
    return len(text.split())


def _cut(text: str, most: int | None) -> tuple[str, str]:
    words = text.split(" ")
    return (text, "stop") if most is None or len(words) <= most else (" ".join(words[:most]), "length")


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"id": "chatcmpl-fake", "choices": [{"index": 0, "mess')
    if request.transport is not None:
        request.transport.close()
    return response


def _failed(failure: _Failure) -> web.Response:
    headers = {"Retry-After": failure.retry_after} if failure.retry_after is not None else {}
    if failure.body is not None:
        return web.Response(status=failure.status, body=failure.body, headers=headers)
    answer = _error(failure.status, f"The test wants a {failure.status}.", "wanted_by_the_test")
    answer.headers.update(headers)
    return answer


def _error(status: int, message: str, code: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return web.json_response({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)
