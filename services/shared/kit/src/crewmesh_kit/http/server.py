"""How the server meets a client that is slow, or says too much, before there is a request to speak of.

A request's head (its line and headers) must have arrived within a time of its first byte, and be of a bearable size;
uvicorn bounds neither, so that a client which sends one byte now and then, or headers without end, would hold a
connection and memory for nothing. A connection that never says anything is idle, and closed like any other idle one.
(Bodies have limits of their own: their size in the middleware, their time where they are read.)
"""

from __future__ import annotations

import json
from asyncio import TimerHandle, Transport
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from crewmesh_kit.errors import PROBLEM_MEDIA_TYPE, InvalidRequest, Problem

_PHRASES = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class SlowHead(Problem):
    """The headers of the request did not arrive completely in time. Send it again over a faster connection."""

    status, slug, title, retryable = 408, "slow-headers", "Request timeout", True

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The headers did not arrive completely within {seconds:g} s. Send the request again.")


class HeadTooLarge(Problem):
    """The headers of the request are larger, or more of them, than the server accepts."""

    status, slug, title = 431, "headers-too-large", "Request headers too large"

    def __init__(self, most_bytes: int, most_headers: int) -> None:
        super().__init__(
            f"A request's line and headers may have {most_bytes} bytes and {most_headers} headers. Send less; what is "
            "long belongs into the body."
        )


class MalformedHttp(InvalidRequest):
    """What arrived on the connection is not HTTP/1.1."""

    slug, title = "malformed-http", "Malformed HTTP"

    def __init__(self) -> None:
        super().__init__("This is not a request of HTTP/1.1; the connection is closed.")


@dataclass(frozen=True, slots=True)
class HeadLimits:
    seconds: float
    most_bytes: int
    most_headers: int


class _TooLarge(Exception):  # noqa: N818  only the parser sees it
    pass


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Made by ``protocol_with``, which knows the limits."""

    limits: HeadLimits

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = False
        self._head_is_too_large = False

    def connection_made(self, transport: Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        if self._awaits_head() and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.seconds, self._give_up)
        goes_on = self._in_head
        super().data_received(data)
        if goes_on and self._in_head and not self.transport.is_closing():
            # A header that does not end is collected inside the parser, which tells nobody.
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.most_bytes:
                self._refuse(HeadTooLarge(self.limits.most_bytes, self.limits.most_headers))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > self.limits.most_headers:
            self._head_is_too_large = True
            raise _TooLarge

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.limits.most_bytes:
            self._head_is_too_large = True
            raise _TooLarge
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        too_large = HeadTooLarge(self.limits.most_bytes, self.limits.most_headers)
        self._refuse(too_large if self._head_is_too_large else MalformedHttp())

    def _awaits_head(self) -> bool:
        # The annotation of uvicorn does not say that there is none before the first request.
        cycle = cast("Any", self.cycle)
        return cycle is None or bool(cycle.response_complete)

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(SlowHead(self.limits.seconds))

    def _refuse(self, problem: Problem) -> None:
        body = json.dumps(problem.document()).encode()
        head = (
            f"HTTP/1.1 {problem.status} {_PHRASES[problem.status]}\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def protocol_with(limits: HeadLimits) -> type[GuardedProtocol]:
    return type("GuardedProtocolWithLimits", (GuardedProtocol,), {"limits": limits})
