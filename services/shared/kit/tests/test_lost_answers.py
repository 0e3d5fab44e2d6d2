"""What a sidecar makes of a service that died: never taken for an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from aiohttp import web
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.errors import Unavailable
from crewmesh_kit.settings import DaprSettings

WHOLE = b'{"hits": []}'


@pytest.fixture
async def sidecar() -> AsyncGenerator[Sidecar]:
    """A sidecar's port on which the test decides what is said."""
    app = web.Application()

    async def say(request: web.Request) -> web.Response:
        length = request.match_info["path"]
        headers = {} if length == "lost" else {"crewmesh-length": length}
        return web.Response(body=WHOLE if length != "lost" else b"", headers=headers)

    app.router.add_route("*", "/v1.0/invoke/knowledge/method/{path:.*}", say)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Sidecar("workflow", DaprSettings(http_port=int(runner.addresses[0][1]))) as sidecar:
        yield sidecar
    await runner.cleanup()


async def read(sidecar: Sidecar, path: str) -> bytes:
    async with sidecar.forward("knowledge", "GET", path, headers={}) as answer:
        return await answer.read()


async def test_a_whole_answer_and_a_stream_are_passed_on(sidecar: Sidecar) -> None:
    assert await read(sidecar, f"/{len(WHOLE)}") == WHOLE
    assert await read(sidecar, "/stream") == WHOLE


async def test_an_empty_success_is_no_answer(sidecar: Sidecar) -> None:
    with pytest.raises(Unavailable, match="lost before it answered"):
        await read(sidecar, "/lost")
