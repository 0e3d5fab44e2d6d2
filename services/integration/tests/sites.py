"""Small servers on 127.0.0.1, a name server that can lie, and the guarded client to be tried against them."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from crewmesh_integration.guard.client import GuardedClient, OutboundRequest
from crewmesh_integration.guard.policy import OutboundPolicy
from crewmesh_kit.outbound.connector import Lookup
from crewmesh_kit.outbound.targets import parse_target

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIMIT = 64 * 1024


@dataclass
class Names:
    """A name server that can change its mind: the first list of answers, then the next."""

    answers: dict[str, list[Sequence[str]]] = field(default_factory=dict[str, list[Sequence[str]]])
    asked: list[str] = field(default_factory=list[str])

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        known = self.answers.get(host)
        if not known:
            raise OSError("unknown name")
        return known.pop(0) if len(known) > 1 else known[0]


@dataclass
class Site:
    """A server on 127.0.0.1; remembers what it was sent."""

    port: int
    seen: list[tuple[str, str, Mapping[str, str], bytes]]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def site(routes: Mapping[str, Handler], *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Site]:
    seen: list[tuple[str, str, Mapping[str, str], bytes]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen.append((request.method, request.path, headers, await request.read()))
        return await routes.get(request.path, _nothing_there)(request)

    server = web.AppRunner(_application(handle), shutdown_timeout=0.1)
    await server.setup()
    listener = web.TCPSite(server, "127.0.0.1", 0, ssl_context=tls)
    await listener.start()
    try:
        yield Site(server.addresses[0][1], seen)
    finally:
        await server.cleanup()


async def _nothing_there(_: web.Request) -> web.Response:
    return web.Response(status=404)


def _application(handle: Handler) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handle)
    return application


@asynccontextmanager
async def client(
    names: Lookup | None = None,
    *,
    policy: OutboundPolicy | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[GuardedClient]:
    opened = GuardedClient(
        policy or OutboundPolicy(allow_loopback=True, mesh_ports=frozenset()),
        lookup=names or Names(),
        user_agent="Crewmesh-Test",
        connect_seconds=60,
        max_body_bytes=LIMIT,
        tls=tls,
    )
    try:
        yield opened
    finally:
        await opened.close()


def request(
    url: str,
    method: str = "POST",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = b"{}",
    timeout_seconds: float = 60,
) -> OutboundRequest:
    return OutboundRequest(
        method=method,
        target=parse_target(url),
        headers=headers or {"Content-Type": "application/json"},
        body=body,
        timeout_seconds=timeout_seconds,
        seal=lambda body: {"webhook-id": "key", "webhook-signature": f"v1,over-{len(body)}-bytes"},
    )


def pass_time(seconds: float) -> None:
    """The running loop's clock goes forward: what is due in so many seconds is due now, however slow the machine is."""
    loop = asyncio.get_running_loop()
    ahead = loop.time() - time.monotonic() + seconds
    vars(loop)["time"] = lambda: time.monotonic() + ahead


async def outlasts(_: web.Request) -> web.Response:
    """Whoever asks with a limit of a minute has waited for so long, and waits in vain."""
    pass_time(61)
    await asyncio.Event().wait()
    raise AssertionError


async def ok(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


def to(location: str, status: int) -> Handler:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return redirect
