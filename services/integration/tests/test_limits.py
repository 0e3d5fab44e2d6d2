"""Receivers that are slow, hang, lie, flood: every answer is bounded in time and size."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import Sequence

import pytest
from aiohttp import web
from crewmesh_integration.guard.client import OutboundAnswer
from crewmesh_integration.guard.errors import UpstreamTimedOut, UpstreamUnreachable

from .sites import LIMIT, Handler, client, outlasts, pass_time, request, site


class TestTime:
    async def test_a_hanging_receiver(self) -> None:
        await self._times_out(outlasts)

    async def test_a_receiver_that_drips(self) -> None:
        async def drip(asked: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(asked)
            while True:
                await response.write(b".")
                pass_time(25)
                await asyncio.sleep(0.02)

        await self._times_out(drip)

    async def test_the_limit_holds_for_all_redirects_together(self) -> None:
        async def slow(_: web.Request) -> web.Response:
            pass_time(25)
            return web.Response(status=307, headers={"Location": "/"})

        await self._times_out(slow)

    async def _times_out(self, handler: Handler) -> None:
        async with site({"/": handler}) as there, client() as out:
            with pytest.raises(UpstreamTimedOut, match="may have taken effect") as failed:
                await out.send(request(there.url("/"), timeout_seconds=60))
        assert failed.value.retryable
        assert failed.value.extensions["sent"] is True

    async def test_a_server_that_does_not_accept(self) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            # The queue of one takes this connection; the next waits for ever.
            with socket.create_connection(full.getsockname()):
                async with client() as out:
                    url = f"http://127.0.0.1:{full.getsockname()[1]}/"
                    with pytest.raises((UpstreamTimedOut, UpstreamUnreachable)) as failed:
                        await asyncio.gather(*(out.send(request(url, timeout_seconds=0.5)) for _ in range(4)))
        assert failed.value.retryable

    async def test_a_slow_name_server(self) -> None:
        async def slow(host: str, port: int) -> Sequence[str]:
            await asyncio.Event().wait()
            return [host, str(port)]

        async with client(slow) as out:
            with pytest.raises(UpstreamTimedOut) as failed:
                await out.send(request("http://slow.test/", timeout_seconds=0.2))
        assert failed.value.extensions["sent"] is False


class TestBrokenServers:
    async def test_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            async with client() as out:
                with pytest.raises(UpstreamUnreachable) as failed:
                    await out.send(request(f"http://127.0.0.1:{port}/"))
        assert failed.value.extensions["sent"] is False

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ],
    )
    async def test_what_is_not_http_is_a_failure(self, raw: bytes) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, client() as out:
            with pytest.raises(UpstreamUnreachable) as failed:
                await out.send(request(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?token=canary"))
        assert failed.value.extensions["sent"] is True
        assert "canary" not in failed.value.detail


class TestSize:
    async def _get(self, handler: Handler) -> OutboundAnswer:
        async with site({"/": handler}) as there, client() as out:
            return await out.send(request(there.url("/"), "GET", body=None, timeout_seconds=20))

    async def test_a_body_that_just_fits_is_whole(self) -> None:
        async def full(_: web.Request) -> web.Response:
            return web.Response(body=b"x" * LIMIT)

        answer = await self._get(full)
        assert (len(answer.body), answer.note) == (LIMIT, None)

    async def test_an_endless_body_is_cut(self) -> None:
        async def endless(asked: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(asked)
            while True:
                await response.write(b"x" * 65_536)

        answer = await self._get(endless)
        assert (len(answer.body), answer.note) == (LIMIT, f"cut after {LIMIT} bytes")

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate"])
    async def test_compressed_bodies_are_read(self, encoding: str) -> None:
        answer = await self._get(_compressed(b"hello " * 1000, encoding))
        assert (answer.body, answer.note) == (b"hello " * 1000, None)

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate"])
    async def test_a_bomb_is_cut_while_it_unfolds(self, encoding: str) -> None:
        answer = await self._get(_compressed(bytes(50_000_000), encoding))
        assert (len(answer.body), answer.note) == (LIMIT, f"cut after {LIMIT} bytes")

    async def test_input_that_unfolds_to_nothing_is_cut(self) -> None:
        async def empty_blocks(_: web.Request) -> web.Response:
            head = zlib.compress(b"")[:2]
            return web.Response(body=head + b"\x00\x00\x00\xff\xff" * LIMIT, headers={"Content-Encoding": "deflate"})

        answer = await self._get(empty_blocks)
        assert (answer.body, answer.note) == (b"", "cut after 0 bytes")

    async def test_a_lying_encoding_does_not_undo_the_answer(self) -> None:
        async def lie(_: web.Request) -> web.Response:
            return web.Response(body=b"plain", headers={"Content-Encoding": "gzip"})

        async def early(_: web.Request) -> web.Response:
            return web.Response(body=gzip.compress(b"x" * 100)[:-9], headers={"Content-Encoding": "gzip"})

        async def brotli(_: web.Request) -> web.Response:
            return web.Response(body=b"...", headers={"Content-Encoding": "br"})

        assert (await self._get(lie)).note == "cut: the rest is not valid gzip"
        assert (await self._get(early)).note == "cut: the gzip data ends too early"
        assert "not asked for" in str((await self._get(brotli)).note)


def _compressed(content: bytes, encoding: str) -> Handler:
    if encoding == "gzip":
        packed = gzip.compress(content)
    elif encoding == "deflate":
        packed = zlib.compress(content)
    else:
        packed = zlib.compress(content)[2:-4]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": encoding.removeprefix("raw-")})

    return answer
