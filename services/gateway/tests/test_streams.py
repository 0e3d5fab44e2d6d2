"""Over real sockets: streams both ways, limits, disconnects, and request lines no client library would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import pytest
from aiohttp import web
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import ProxySettings, Settings
from crewmesh_testkit import FakeSidecar
from fastapi import FastAPI

from .gateway import BEARER, Upstream, served, until

Address = tuple[str, int]


@pytest.fixture
async def address(app: FastAPI) -> AsyncGenerator[Address]:
    async with served(app) as address:
        yield address


async def raw(address: Address, target: str, *, method: str = "GET") -> int:
    """The status for a request line exactly as written."""
    reader, writer = await asyncio.open_connection(*address)
    line = f"{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: {BEARER['authorization']}\r\n"
    writer.write(f"{line}connection: close\r\n\r\n".encode("latin-1"))
    head = await asyncio.wait_for(reader.readline(), 60)
    writer.close()
    return int(head.split()[1]) if head else 0


async def test_an_event_arrives_before_the_stream_ends(address: Address, upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        await response.write(b"id: 1\ndata: first\n\n")
        await go_on.wait()
        await response.write(b"id: 2\ndata: second\n\n")
        return response

    upstream.handler = handler
    async with (
        aiohttp.ClientSession("http://{}:{}".format(*address)) as client,
        client.get("/v1/runs/run_1/events", headers=BEARER) as answer,
    ):
        assert answer.content_type == "text/event-stream"
        assert await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 60) == b"id: 1\ndata: first\n\n"
        go_on.set()
        assert await answer.content.read() == b"id: 2\ndata: second\n\n"


def cut_off(told: int, sent: int) -> web.Response:
    """What a sidecar makes of an answer whose service died in the middle: whole by every sign but our own."""
    return web.Response(body=b"x" * sent, headers={"crewmesh-length": str(told)})


async def test_a_small_answer_that_was_cut_off_is_a_problem(address: Address, upstream: Upstream) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return cut_off(told=20, sent=0)

    upstream.handler = handler
    async with (
        aiohttp.ClientSession("http://{}:{}".format(*address)) as client,
        client.get("/v1/runs", headers=BEARER) as answer,
    ):
        assert answer.status == 503
        assert (await answer.json(content_type=None))["service"] == "workflow"


async def test_a_large_answer_that_was_cut_off_is_seen_to_be(address: Address, upstream: Upstream) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return cut_off(told=200_000, sent=100_000)

    upstream.handler = handler
    async with (
        aiohttp.ClientSession("http://{}:{}".format(*address)) as client,
        client.get("/v1/runs", headers=BEARER) as answer,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_request_body_arrives_before_it_is_complete(address: Address, upstream: Upstream) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    go_on = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        async for chunk in request.content.iter_any():
            arrived.put_nowait(chunk)
        return web.Response(text="done")

    async def body() -> AsyncGenerator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    upstream.handler = handler
    async with aiohttp.ClientSession("http://{}:{}".format(*address)) as client:
        sending = asyncio.create_task(client.post("/v1/events", headers=BEARER, data=body()))
        assert await asyncio.wait_for(arrived.get(), 60) == b"first"
        go_on.set()
        async with await sending as answer:
            assert await answer.text() == "done"
    assert arrived.get_nowait() == b"second"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_refused(address: Address, upstream: Upstream, announced: bool) -> None:
    size, chunk = 5 * 1024 * 1024, b"x" * 65536

    async def body() -> AsyncGenerator[bytes]:
        for _ in range(size // len(chunk)):
            yield chunk

    async with aiohttp.ClientSession("http://{}:{}".format(*address)) as client:
        async with client.post("/v1/events", headers=BEARER, data=b"x" * size if announced else body()) as answer:
            assert answer.status == 413
            assert (await answer.json(content_type="application/problem+json"))["type"].endswith("/payload-too-large")
        async with client.post("/v1/events", headers=BEARER, data=b"x" * (4 * 1024 * 1024)) as answer:
            assert answer.status == 200, "the limit itself is allowed"
    assert [len(seen.body) for seen in upstream.seen] == [4 * 1024 * 1024]


@pytest.mark.parametrize("begun", [True, False], ids=["in the stream", "before the answer"])
async def test_a_client_that_leaves_cancels_the_work(address: Address, upstream: Upstream, begun: bool) -> None:
    working, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if begun:
            await response.prepare(request)
            await response.write(b"x")
        working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return response

    upstream.handler = handler
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"GET /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: {BEARER['authorization']}\r\n\r\n".encode())
    if begun:
        await reader.readuntil(b"\r\n\r\n")
    await asyncio.wait_for(working.wait(), 60)
    writer.close()
    await asyncio.wait_for(cancelled.wait(), 60)


async def test_a_client_that_leaves_in_the_middle_of_its_body_cancels_the_work(
    address: Address, upstream: Upstream
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        begun.set()
        try:
            await request.read()
        finally:
            ended.set()
        return web.Response()

    upstream.handler = handler
    _, writer = await asyncio.open_connection(*address)
    head = f"POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: {BEARER['authorization']}\r\n"
    writer.write(f"{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".encode())
    await asyncio.wait_for(begun.wait(), 60)
    writer.close()
    await asyncio.wait_for(ended.wait(), 60)


async def test_a_service_that_dies_in_its_answer_leaves_it_visibly_incomplete(
    address: Address, upstream: Upstream
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    upstream.handler = handler
    async with aiohttp.ClientSession("http://{}:{}".format(*address)) as client:
        async with client.get("/v1/runs", headers=BEARER) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        async with client.get("/v1/me", headers=BEARER) as answer:
            assert answer.status == 200, "the gateway goes on"


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(settings: Settings, sidecar: FakeSidecar) -> None:
    quick = settings.model_copy(update={"proxy": ProxySettings(first_byte_seconds=0.3)})
    async with served(create_app(quick, sidecar)) as address:
        reader, writer = await asyncio.open_connection(*address)
        head = f"POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: {BEARER['authorization']}\r\n"
        writer.write(f"{head}content-length: 100\r\n\r\nhello".encode())
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 60)
        writer.close()


@pytest.mark.parametrize(
    "target",
    [
        "/v1/runs/../../internal/search",
        "/v1/%2e%2e/internal/kickoff",
        "/v1/runs%2F..%2F..%2Finternal",
        "/v1//runs",
        "/v1/runs/%00",
        "/v1/runs\\..\\x",
        "/v1/runs/%5c",
        "/v1/runs%23/x",
        "/v1/runs;x=1",
        "/v1/runs/./x",
    ],
)
async def test_suspicious_request_lines_never_reach_a_sidecar(
    address: Address, upstream: Upstream, target: str
) -> None:
    assert await raw(address, target) == 400
    assert await raw(address, target, method="POST") == 400
    assert upstream.seen == []


@pytest.mark.parametrize("target", ["/internal/search", "/../v1/runs", "http://169.254.169.254/v1/x", "/v1"])
async def test_other_paths_lead_nowhere(address: Address, upstream: Upstream, target: str) -> None:
    assert await raw(address, target) in (400, 404)
    assert upstream.seen == []


async def test_a_fragment_does_not_travel(address: Address, upstream: Upstream) -> None:
    assert await raw(address, "/v1/runs#/../../internal/x") in (200, 400)
    assert all(seen.path_and_query == "/v1/runs" for seen in upstream.seen)


async def test_answered_requests_leave_no_task_behind(address: Address, upstream: Upstream) -> None:
    before = len(asyncio.all_tasks())
    async with aiohttp.ClientSession("http://{}:{}".format(*address)) as client:
        for _ in range(20):
            async with client.post("/v1/events", headers=BEARER, data=b"{}") as answer:
                assert answer.status == 200
    await until(lambda: len(asyncio.all_tasks()) <= before + 2)
    assert len(upstream.seen) == 20
