"""What the fakes of all model protocols have in common: what they are told to answer, and how they fail on demand.

::

    async with AnthropicFake(api_key="…") as server:
        server.answers("First", "Second", Says(tools=(ToolUse("search", {"query": "x"}),)))   # then "ok" for ever
        server.fails(429, times=2, retry_after="0")   # the next two requests
        server.cuts()                                  # the next breaks off in the middle of its answer
        server.ends_early()                            # the next stream ends well, but without its last word
        server.hangs()                                 # the next is never answered
        server.stalls()                                # the next begins to answer, and never goes on
        server.garbles()                               # the next answers what is no JSON
        server.delay = 5.0                             # every answer is slow
        server.words_per_second = 50                   # every stream takes its time
        ...  # ask server.url
        assert server.requests[0].prompt == "…"

Each protocol reads requests as strictly as the real server documents, and answers whole or streamed in its own form.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, Self, TypeAlias, TypeVar

from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_testkit.requests_read import RefusedError

_LARGEST_REQUEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a tool. ``arguments`` as text stand for what a model wrote badly."""

    name: str
    arguments: JsonObject | str = field(default_factory=dict[str, JsonValue])

    @property
    def written(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)

    @property
    def given(self) -> JsonValue:
        """For protocols that carry the arguments as JSON."""
        return self.arguments


@dataclass(frozen=True, slots=True)
class Says:
    text: str = ""
    tools: tuple[ToolUse, ...] = ()
    finish: Literal["stop", "length", "filtered"] = "stop"
    cached: int = 0

    @property
    def tokens(self) -> int:
        """What the answer counts as."""
        return tokens_of(self.text) + sum(tokens_of(use.written) for use in self.tools)

    @property
    def words(self) -> list[str]:
        """The text as it is streamed: joined, they are the text."""
        words = self.text.split(" ")
        return [*(f"{word} " for word in words[:-1]), words[-1]] if self.text else []


class Asked(Protocol):
    """What the base needs to know of a request, whatever its protocol."""

    @property
    def prompt(self) -> str: ...
    @property
    def most_tokens(self) -> int | None: ...
    @property
    def streamed(self) -> bool: ...


AskedT = TypeVar("AskedT", bound=Asked)
Answer: TypeAlias = str | Says | Callable[[AskedT], str | Says]
_Trouble = Literal["cut", "ends early", "hang", "stall", "garble"]


@dataclass(frozen=True)
class _Failure:
    status: int = 200
    retry_after: str | None = None
    body: bytes | None = None
    code: str = "wanted_by_the_test"
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    trouble: _Trouble | None = None


@dataclass
class ModelFake(ABC, Generic[AskedT]):
    """``url`` is what a client is given as its base URL. ``api_key``: when set, other keys are refused."""

    api_key: str = ""
    delay: float = 0.0
    words_per_second: float | None = None
    counts_tokens: bool = True
    requests: list[AskedT] = field(default_factory=list[AskedT])
    abandoned: int = 0
    most_at_once: int = 0
    peers: set[str] = field(default_factory=set[str])
    url: str = ""
    _answers: deque[Answer[AskedT]] = field(default_factory=deque[Answer[AskedT]])
    _failures: deque[_Failure] = field(default_factory=deque[_Failure])
    _at_once: int = 0
    _runner: web.AppRunner | None = None

    stream_type = "text/event-stream"

    def answers(self, *answers: Answer[AskedT]) -> None:
        """What the next requests get; a function is shown the request."""
        self._answers.extend(answers)

    def uses_tool(self, name: str, arguments: JsonObject | str) -> None:
        """The next answer is a call of this tool."""
        self.answers(Says(tools=(ToolUse(name, arguments),)))

    def fails(
        self,
        status: int,
        *,
        times: int = 1,
        retry_after: str | None = None,
        body: bytes | None = None,
        code: str = "wanted_by_the_test",
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """The next requests fail; with ``body`` they get exactly that instead of an error document."""
        self._failures.extend([_Failure(status, retry_after, body, code, message, headers or {})] * times)

    def cuts(self, *, times: int = 1) -> None:
        """The connection of the next requests breaks in the middle of the answer."""
        self._fail_by("cut", times)

    def ends_early(self, *, times: int = 1) -> None:
        """The next streams end as if all were well, in the middle of the answer."""
        self._fail_by("ends early", times)

    def hangs(self, *, times: int = 1) -> None:
        self._fail_by("hang", times)

    def stalls(self, *, times: int = 1) -> None:
        self._fail_by("stall", times)

    def garbles(self, *, times: int = 1) -> None:
        self._fail_by("garble", times)

    def _fail_by(self, trouble: _Trouble, times: int) -> None:
        self._failures.extend([_Failure(trouble=trouble)] * times)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_LARGEST_REQUEST)
        self.routes(app.router)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{self.base_path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def connections(self) -> int:
        """How many were opened to ask."""
        return len(self.peers)

    # What each protocol says in its own way.

    base_path = ""

    @abstractmethod
    def routes(self, router: web.UrlDispatcher) -> None:
        """Lead the paths of the protocol to ``serve``."""

    @abstractmethod
    def read(self, request: web.Request, body: bytes) -> AskedT:
        """The request, or RefusedError."""

    @abstractmethod
    def whole(self, asked: AskedT, says: Says) -> JsonObject: ...

    @abstractmethod
    def frames(self, asked: AskedT, says: Says) -> Sequence[bytes]:
        """The same in the pieces of a stream."""

    @abstractmethod
    def error(self, status: int, message: str, code: str, parameter: str) -> web.Response: ...

    def check_key(self, request: web.Request) -> None:
        """RefusedError for what lacks the key."""

    def garbage(self) -> bytes:
        """A piece of a stream that cannot be read."""
        return b'data: {"this is": no JSON\n\n'

    def next_answer(self, asked: AskedT) -> str | Says:
        answer = self._answers.popleft() if self._answers else "ok"
        return answer if isinstance(answer, (str, Says)) else answer(asked)

    # What is the same for all.

    def listed(self, models: JsonObject) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Answers the list of models."""

        async def answer(request: web.Request) -> web.Response:
            try:
                self.check_key(request)
            except RefusedError as refused:
                return self.error(refused.status, str(refused), refused.code, refused.parameter)
            return web.json_response(models)

        return answer

    def call_id(self, at: int) -> str:
        """The id of the call at this place of the present answer."""
        return f"call{len(self.requests):03}{at:02}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self._at_once += 1
        if request.transport is not None:
            self.peers.add(str(request.transport.get_extra_info("peername")))
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._answer(request)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        finally:
            self._at_once -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = self.read(request, await request.read())
        except RefusedError as refused:
            return self.error(refused.status, str(refused), refused.code, refused.parameter)
        self.requests.append(asked)
        failure = self._failures.popleft() if self._failures else None
        if failure is not None and failure.trouble is None:
            return self._failed(failure)
        trouble = None if failure is None else failure.trouble
        if trouble == "hang":
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay)
        says = _shortened(self.next_answer(asked) if trouble is None else "one two three four", asked.most_tokens)
        if asked.streamed:
            return await self._streamed(request, self.frames(asked, says), trouble)
        return await self._whole(request, self.whole(asked, says), trouble)

    async def _whole(self, request: web.Request, document: JsonObject, trouble: _Trouble | None) -> web.StreamResponse:
        if trouble == "garble":
            return web.Response(body=b'{"this is": no JSON', content_type="application/json")
        body = json.dumps(document).encode()
        if trouble is None:
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        await _break_off(request, trouble)
        return response

    async def _streamed(
        self, request: web.Request, frames: Sequence[bytes], trouble: _Trouble | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": self.stream_type})
        await response.prepare(request)
        if trouble is not None:
            frames = frames[: len(frames) // 2]
        await self._in_time(response, frames)
        if trouble == "garble":
            await response.write(self.garbage())
        elif trouble is not None and trouble != "ends early":
            await _break_off(request, trouble)
        return response

    async def _in_time(self, response: web.StreamResponse, frames: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for at, frame in enumerate(frames):
            if self.words_per_second is not None:
                await asyncio.sleep(begun + at / self.words_per_second - loop.time())
            await response.write(frame)

    def _failed(self, failure: _Failure) -> web.Response:
        headers = dict(failure.headers)
        if failure.retry_after is not None:
            headers["Retry-After"] = failure.retry_after
        if failure.body is not None:
            return web.Response(status=failure.status, body=failure.body, headers=headers)
        message = failure.message or f"The test wants a {failure.status}."
        answer = self.error(failure.status, message, failure.code, "")
        answer.headers.update(headers)
        return answer


def tokens_of(text: str) -> int:
    """The fakes' tokens are words."""
    return len(text.split())


def event(data: JsonValue, *, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name is not None else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def halves(text: str) -> tuple[str, str]:
    """Arguments of a tool call arrive in pieces that are no JSON by themselves."""
    middle = len(text) // 2
    return text[:middle], text[middle:]


def _shortened(answer: str | Says, most: int | None) -> Says:
    says = Says(answer) if isinstance(answer, str) else answer
    words = says.text.split(" ")
    if most is None or len(words) <= most:
        return says
    return Says(" ".join(words[:most]), says.tools, "length", says.cached)


async def _break_off(request: web.Request, trouble: _Trouble) -> None:
    if trouble == "stall":
        await asyncio.Event().wait()
    if request.transport is not None:
        request.transport.close()
