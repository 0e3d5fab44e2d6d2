"""A small edge for tests: a real HTTP server that reads kong/kong.yaml and does what its routes and plugins say.

It stands in for Kong where Kong cannot be installed. What it takes for granted about Kong (which route wins, in which
order plugins run, what the Lua API answers) was read in the sources of 3.9.1; what the file means on top of that is
run, against the real mesh.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.contract.kong_format import KongFile, Service
from tests.edge.exchange import Answer, Exchange, Exited
from tests.edge.plugins import Plugins
from tests.edge.router import Match, match, upstream_path
from tests.edge.sockets import bridged

# Of one connection only (RFC 9110), or written by Kong itself.
_NOT_PASSED_ON = {
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "expect",
    "content-length", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
    "x-forwarded-path", "x-forwarded-prefix", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions",
    "sec-websocket-accept",
}  # fmt: skip
_NO_HEADERS_OF_ITS_OWN = ("user-agent", "accept", "accept-encoding", "content-type")
_STARTED_WITHIN = 120.0
# To connect: what the file grants there is too little for a machine that has other things to do.
_CONNECTED_WITHIN = 60.0
_LARGEST_HEADER = 16 * 1024

Body = bytes | aiohttp.StreamReader | None


class Edge:
    """``with Edge(...) as edge``: it runs in a thread of its own, so that tests may block."""

    def __init__(
        self,
        file: KongFile,
        *,
        places: Mapping[str, str],
        environment: Mapping[str, str],
        trusted: Sequence[str] = (),
    ) -> None:
        """``places``: where the hosts of the file are (``host:port`` to ``host:port``)."""
        self.plugins = Plugins(file)
        self.url = ""
        self.environment = dict(environment)
        self._file = file
        self._places = places
        self._trusted = [ip_network(each) for each in trusted]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edge", daemon=True)
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_STARTED_WITHIN)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_STARTED_WITHIN)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STARTED_WITHIN)
        self._loop.close()

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
        server = web.Server(self._serve, access_log=None, max_field_size=_LARGEST_HEADER, max_line_size=_LARGEST_HEADER)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        raw_path, _, query = request.raw_path.partition("?")
        headers = CIMultiDict(request.headers)
        exchange = Exchange(request.method, raw_path, headers, self.environment, address=self._address(request))
        found = match(self._file, request.method, raw_path)
        if found is None:
            return web.Response(status=404, text="no Route matched with those values")
        try:
            self.plugins.access(exchange, found.service, found.route)
            return await self._pass_on(request, exchange, found, query)
        except Exited:
            return self._said_here(exchange, found)

    async def _pass_on(
        self, request: web.BaseRequest, exchange: Exchange, found: Match, query: str
    ) -> web.StreamResponse:
        assert found.service is not None, "a route without a service has to end the request itself"
        assert self._session is not None
        url, headers = self._upstream(found, query), self._onwards(request, exchange)
        if exchange.headers.get("upgrade", "").lower() == "websocket":
            socket = await bridged(self._session, request, url, headers)
            if socket is not None:
                return socket
        answer = await self._ask(exchange, found.service, url, headers, await _body(request))
        async with answer:
            named = [(name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON]
            kept = exchange.answer.headers
            exchange.answer = Answer(answer.status, CIMultiDict(named))
            exchange.answer.headers.update(kept)
            self.plugins.header_filter(exchange, found.service, found.route)
            response = web.StreamResponse(status=answer.status, headers=exchange.answer.headers)
            if answer.content_length is not None and answer.method != "HEAD":
                response.content_length = answer.content_length
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _ask(
        self, exchange: Exchange, service: Service, url: URL, headers: CIMultiDict[str], body: Body
    ) -> aiohttp.ClientResponse:
        """A connection that broke is tried again as often as the service says, a slow answer never."""
        assert self._session is not None
        patience = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECTED_WITHIN, sock_read=service.read_timeout / 1000
        )
        for tries_left in range(service.retries, -1, -1):
            try:
                return await self._session.request(
                    exchange.method,
                    url,
                    headers=headers,
                    data=body,
                    timeout=patience,
                    allow_redirects=False,
                    skip_auto_headers=_NO_HEADERS_OF_ITS_OWN,
                )
            except TimeoutError:
                exchange.error(504, "The upstream server is timing out", source="error")
            except aiohttp.ClientError:
                if not tries_left:
                    exchange.error(502, "An invalid response was received from the upstream server", source="error")
        raise AssertionError("unreachable")

    def _upstream(self, found: Match, query: str) -> URL:
        assert found.service is not None
        parts = urlsplit(found.service.url)
        targets = [each.targets[0].target for each in self._file.upstreams if each.name == found.service.host]
        place = self._places[targets[0] if targets else parts.netloc]
        path = upstream_path(parts.path, found.path)
        return URL(f"{parts.scheme}://{place}{path}{'?' if query else ''}{query}", encoded=True)

    def _onwards(self, request: web.BaseRequest, exchange: Exchange) -> CIMultiDict[str]:
        kept = [(name, value) for name, value in exchange.headers.items() if name.lower() not in _NOT_PASSED_ON]
        headers = CIMultiDict(kept)
        for name in exchange.headers.get("connection", "").split(","):
            headers.popall(name.strip(), None)
        before = exchange.headers.get("x-forwarded-for")
        peer = request.remote or ""
        headers["X-Real-IP"] = exchange.address
        headers["X-Forwarded-For"] = f"{before}, {peer}" if before else exchange.address
        headers["X-Forwarded-Proto"] = exchange.scheme
        headers["X-Forwarded-Host"] = request.host
        return headers

    def _said_here(self, exchange: Exchange, found: Match) -> web.Response:
        self.plugins.header_filter(exchange, found.service, found.route)
        self.plugins.body_filter(exchange, found.service, found.route)
        answer = exchange.answer
        answer.headers.popall("content-length", None)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body or None)

    def _address(self, request: web.BaseRequest) -> str:
        """As nginx with real_ip_header X-Forwarded-For, recursively: the last address that is not one of ours."""
        peer = request.remote or "127.0.0.1"
        hops = [each.strip() for each in request.headers.get("x-forwarded-for", "").split(",") if each.strip()]
        while self._is_trusted(peer) and hops:
            peer = hops.pop()
        return peer

    def _is_trusted(self, address: str) -> bool:
        return any(ip_address(address) in network for network in self._trusted)


async def _body(request: web.BaseRequest) -> Body:
    """What tells its length in one piece, which can be sent again; what does not, as it comes."""
    if not request.can_read_body:
        return None
    if request.content_length is None:
        return request.content
    return b"".join([chunk async for chunk in request.content.iter_any()])
