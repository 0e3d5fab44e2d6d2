"""The first run waits for the starter content, whatever way the gateway sends its lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from crewmesh_tools.mesh.starter import missing

OK = b"HTTP/1.1 200 OK\r\n"
FULL = b'{"items":[{"name":"handbook"}],"next_cursor":null}'
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(answer: bytes, asked: list[bytes]) -> Connected:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    return connected


@asynccontextmanager
async def gateway(answer: bytes, asked: list[bytes]) -> AsyncGenerator[int]:
    server = await asyncio.start_server(answering(answer, asked), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OK + b"content-length: 50\r\n\r\n" + FULL, None),
        (
            OK + b"transfer-encoding: chunked\r\n\r\n14\r\n" + FULL[:20] + b"\r\n1e\r\n" + FULL[20:] + b"\r\n0\r\n\r\n",
            None,
        ),
        (OK + b'\r\n{"items":[]}', "empty"),
        (OK + b"\r\nnot json", "empty"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}", "status 503"),
        (b"", "status unknown"),
    ],
)
async def test_what_is_missing(answer: bytes, reason: str | None) -> None:
    asked: list[bytes] = []
    async with gateway(answer, asked) as port:
        assert await missing(port, "/v1/crews", "cm_key") == reason
    assert asked[0].startswith(b"GET /v1/crews HTTP/1.1\r\n")
    assert b"authorization: Bearer cm_key\r\n" in asked[0]


async def test_a_gateway_that_is_not_there() -> None:
    assert await missing(1, "/v1/crews", "cm_key") is not None
