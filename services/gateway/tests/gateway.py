"""What the tests share: the first key, a server in the place of all services, the gateway on a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from aiohttp import web
from crewmesh_contracts import api_keys
from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_gateway.settings import LimitSettings, OpenApiSettings, ProxySettings, Settings
from fastapi import FastAPI
from pydantic import SecretStr

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def key_of(prefix: str, secret: str) -> PresentedKey:
    key = PresentedKey.parse(api_keys.text_of(prefix, secret))
    assert key is not None
    return key


def bearer(credential: object) -> dict[str, str]:
    """For the text of a key or token, also as an answer shows it."""
    return {"authorization": f"Bearer {credential}"}


KEY = key_of("firstkey", "s" * 43)
BEARER = bearer(KEY.text)


@dataclass(frozen=True)
class Seen:
    """A request as it reached the service."""

    app: str
    method: str
    path_and_query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Upstream:
    """Every service at once: /<app>/… ; ``answer`` may be replaced by a test."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list[Seen])
    handler: Handler | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.handler is not None:
            return await self.handler(request)
        _, app, rest = request.raw_path.split("/", 2)
        self.seen.append(Seen(app, request.method, f"/{rest}", request.headers.copy(), await request.read()))
        return web.json_response({"from": app})


def settings_for(url: str) -> Settings:
    """With time enough for a slow machine, where it is not the time that is tested."""
    plain = Settings()
    return plain.model_copy(
        update={
            "database": plain.database.model_copy(update={"url": SecretStr(url)}),
            "limits": LimitSettings(answer_seconds=600),
            "proxy": ProxySettings(absence_seconds=0),
            "openapi": OpenApiSettings(cache_seconds=3600, fetch_seconds=60),
        }
    )


@asynccontextmanager
async def served(app: FastAPI) -> AsyncGenerator[tuple[str, int]]:
    """The app behind a real server on a real port: for what only a socket shows."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http="httptools",
        log_config=None,
        lifespan="on",
        timeout_keep_alive=600,  # a connection that ends by itself may do so while it is used again
        timeout_graceful_shutdown=30,  # a test that failed in the middle of an exchange must still end
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(120):
        while not server.started:
            assert not serving.done(), "the server did not start"
            await asyncio.sleep(0.01)
    try:
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield host, port
    finally:
        server.should_exit = True
        await serving


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float = 60) -> None:
    """Poll with a deadline, and once more when it is over: the machine may have stood still."""
    deadline = time.monotonic() + seconds
    while True:
        is_over = time.monotonic() >= deadline
        met = condition()
        if met if isinstance(met, bool) else await met:
            return
        assert not is_over, f"waited {seconds:g} s in vain"
        await asyncio.sleep(0.01)
