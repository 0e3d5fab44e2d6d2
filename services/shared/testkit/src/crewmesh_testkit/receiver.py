"""The world outside, small: a real HTTP server on this machine that records what it gets, slow or failing at will."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

# Which header names an effect: ours for webhooks, then the common one.
_KEY_HEADERS = ("webhook-id", "idempotency-key")


@dataclass(frozen=True, slots=True)
class Received:
    """One request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str | None:
        return next((self.headers[name] for name in _KEY_HEADERS if name in self.headers), None)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def _ok(_received: Received) -> Reply:
    return Reply()


class Receiver:
    """``async with Receiver() as receiver``: send to ``receiver.url("/path")``, then look at ``receiver.requests``."""

    def __init__(self, *, delay: Callable[[], float] = lambda: 0.0, reply: Callable[[Received], Reply] = _ok) -> None:
        self.requests: list[Received] = []
        self.reply = reply
        self._delay = delay
        self._runner: web.AppRunner | None = None
        self._port = 0

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def counts_by_key(self) -> Counter[str | None]:
        """How often each effect arrived; effects are told apart by their idempotency key."""
        return Counter(received.key for received in self.requests)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        received = Received(
            method=request.method,
            path=request.path_qs,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        self.requests.append(received)
        await asyncio.sleep(self._delay())
        reply = self.reply(received)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
