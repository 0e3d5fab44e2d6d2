"""A request's body on its way in, never collected when it is large, and its sender watched.

As long as the body flows, a sender that leaves is noticed by reading it. Afterwards a small task keeps reading, for
the one message that can still come: that the client has gone. Then the exchange is cancelled, and with it the work
upstream.
(How large a body may be is checked before, for every service in the same way.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.types import Receive

_SMALL = 64 * 1024


class ClientGone(Exception):  # noqa: N818  nothing is wrong, there is just nobody left to answer
    """The client closed its connection."""


class RequestBody:
    """One request's body. Use it as a context around the whole exchange."""

    def __init__(self, receive: Receive, headers: Mapping[str, str]) -> None:
        self._receive = receive
        self._length = headers.get("content-length")
        self._chunked = "transfer-encoding" in headers
        self._exchange: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._cancelled_exchange = False
        self._answered = False
        self.arrived = False
        self.failure: Exception | None = None

    async def __aenter__(self) -> RequestBody:
        self._exchange = asyncio.current_task()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.answered()
        if not self._cancelled_exchange or self._exchange is None:
            return
        # Take our own cancellation back; one from outside (a shutdown) stays what it is.
        if self._exchange.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGone

    def answered(self) -> None:
        """From here on the end of the connection is no news."""
        self._answered = True
        if self._watch is not None:
            self._watch.cancel()

    async def content(self) -> bytes | AsyncIterator[bytes] | None:
        """Nothing, a small body in one piece (which can be sent again on a fresh connection), or a stream."""
        if self._chunked or (self._length is not None and int(self._length) > _SMALL):
            return self._stream()
        return b"".join([chunk async for chunk in self._chunks()]) or None

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks():
                yield chunk
        except Exception as failure:
            # The HTTP client that reads this reports only that sending failed; here is why.
            self.failure = failure
            raise

    async def _chunks(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if chunk := message.get("body", b""):
                yield chunk
            more = message.get("more_body", False)
        self.arrived = True
        self._watch = asyncio.create_task(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._answered and self._exchange is not None:
            self._cancelled_exchange = True
            self._exchange.cancel()
