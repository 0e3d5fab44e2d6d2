"""Clients that are slow or say too much, on real connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import uvicorn
from crewmesh_kit.http.server import HeadLimits, protocol_with
from starlette.types import Receive, Scope, Send

_LIMITS = HeadLimits(seconds=0.4, most_bytes=8192, most_headers=20)
_PATIENT = replace(_LIMITS, seconds=300)
_SECONDS = 60


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connected(
    limits: HeadLimits = _PATIENT, *, keep_alive: int = 300
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(
        echo,
        host="127.0.0.1",
        port=0,
        http=protocol_with(limits),
        log_config=None,
        lifespan="off",
        timeout_keep_alive=keep_alive,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(_SECONDS):
        while not server.started:
            assert not serving.done(), "the server did not start"
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.split("\r\n") if line.lower().startswith("content-length"))
        return int(head.split(" ")[1]), await reader.readexactly(int(length.split(":")[1]))


async def refusal(reader: asyncio.StreamReader) -> dict[str, Any]:
    status, body = await answer(reader)
    async with asyncio.timeout(_SECONDS):
        assert await reader.read() == b"", "the connection is closed after it"
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == status
    return document


def post(body: bytes, *headers: bytes) -> bytes:
    lines = (b"POST / HTTP/1.1", b"host: here", b"content-length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_headers_that_drip_are_given_up_however_often_something_arrives() -> None:
    async with connected(_LIMITS) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        answering = asyncio.create_task(answer(reader))
        while not answering.done():
            writer.write(b"y")
            await asyncio.sleep(0.15)
        assert (await answering)[0] == 408


async def test_the_second_request_of_a_connection_has_the_same_time() -> None:
    async with connected(_LIMITS) as (reader, writer):
        writer.write(post(b"first"))
        assert await answer(reader) == (200, b"first")
        writer.write(b"POST / HTTP/1.1\r\nhost:")
        assert (await refusal(reader))["type"].endswith("slow-headers")


async def test_line_ends_before_a_request_begin_the_time() -> None:
    async with connected(_LIMITS) as (reader, writer):
        writer.write(b"\r\n")
        assert (await refusal(reader))["type"].endswith("slow-headers")


async def test_a_slow_body_is_not_the_heads_business() -> None:
    async with connected(_LIMITS) as (reader, writer):
        writer.write(post(b"0123456789")[:-5])
        await asyncio.sleep(_LIMITS.seconds * 2)
        writer.write(b"56789")
        assert await answer(reader) == (200, b"0123456789")


async def test_large_bodies_count_for_nothing_here_and_connections_are_used_again() -> None:
    body = b"x" * 300_000
    async with connected() as (reader, writer):
        for _ in range(3):
            writer.write(post(body))
            assert await answer(reader) == (200, body)
        writer.write(post(body) + post(b"pipelined"))
        assert await answer(reader) == (200, body)
        assert await answer(reader) == (200, b"pipelined")


async def test_a_header_without_end_is_refused_before_its_time() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        answering = asyncio.create_task(answer(reader))
        while not answering.done():
            writer.write(b"x" * 1000)
            await asyncio.sleep(0.001)
        # What was on its way when the server closed breaks the connection; how it ends is seen by the next test.
        assert (await answering)[0] == 431


async def test_large_headers_in_one_piece_and_many_headers_are_refused() -> None:
    for request in (
        post(b"", b"x: " + b"y" * 9000),
        post(b"", *(b"x%d: y" % number for number in range(30))),
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: here\r\n\r\n",
    ):
        async with connected() as (reader, writer):
            writer.write(request)
            assert (await refusal(reader))["type"].endswith("headers-too-large")


async def test_what_is_no_http_is_told_so_in_the_one_form_of_errors() -> None:
    async with connected() as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await refusal(reader))["type"].endswith("malformed-http")


async def test_a_connection_that_never_says_anything_is_closed_like_an_idle_one() -> None:
    async with connected(keep_alive=1) as (reader, _), asyncio.timeout(_SECONDS):
        assert await reader.read() == b""
