"""Send one request to the world: guarded, bounded in time, size and redirects, nothing taken from the environment."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TypeAlias

import aiohttp
from crewmesh_kit.outbound.connector import Lookup, guarded_connector
from crewmesh_kit.outbound.targets import Target

from crewmesh_integration.guard.bodies import ACCEPT_ENCODING, read_body
from crewmesh_integration.guard.errors import (
    DestinationRefused,
    UpstreamRedirected,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from crewmesh_integration.guard.policy import OutboundPolicy
from crewmesh_integration.guard.redirects import MAX_REDIRECTS, Hop, is_redirect, next_hop

Seal: TypeAlias = Callable[[bytes], Mapping[str, str]]
"""Makes the headers that vouch for a body. They are made for the first origin only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRequest:
    method: str
    target: Target
    headers: Mapping[str, str]
    body: bytes | None
    timeout_seconds: float
    seal: Seal
    same_origin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundAnswer:
    """``note`` says what of the body is missing, if something is; ``most_bytes`` how long it may be."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    charset: str | None
    body: bytes
    note: str | None
    most_bytes: int
    redirects: int


@dataclass(slots=True)
class _Progress:
    """How far a request came; an error means something else once bytes may have left."""

    target: Target
    connected: bool = field(default=False)


class GuardedClient:
    def __init__(
        self,
        policy: OutboundPolicy,
        *,
        lookup: Lookup,
        user_agent: str,
        connect_seconds: float,
        max_body_bytes: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._max_body_bytes = max_body_bytes
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(policy, lookup, tls=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": user_agent, "Accept": "*/*"},
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
            trace_configs=[_connection_tracing()],
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        """Return the final answer, whatever its status; raise one of ``errors`` when there is none."""
        progress = _Progress(request.target)
        try:
            async with asyncio.timeout(request.timeout_seconds):
                return await self._follow(request, progress)
        except (DestinationRefused, UpstreamRedirected) as refusal:
            refusal.extensions["sent"] = progress.connected
            raise
        except TimeoutError as error:
            host = progress.target.host
            what = f"{host} gave no complete answer" if progress.connected else f"No connection to {host} came about"
            raise UpstreamTimedOut(f"{what} within {request.timeout_seconds:g} s.", sent=progress.connected) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnreachable(_what_broke(error, progress.target), sent=progress.connected) from error

    async def _follow(self, request: OutboundRequest, progress: _Progress) -> OutboundAnswer:
        hop = Hop(request.method, request.target, request.headers, request.body)
        for redirects in range(MAX_REDIRECTS + 1):
            progress.target = hop.target
            self._policy.check_target(hop.target)
            async with self._exchange(hop, request, progress) as response:
                location = response.headers.get("Location")
                if location is None or not is_redirect(response.status, location):
                    return await self._answer(response, redirects)
                hop = next_hop(hop, status=response.status, location=location)
                if request.same_origin and not hop.at_home:
                    raise UpstreamRedirected(
                        f"{request.target.host} redirects to another origin, where this request may not go."
                    )
        raise UpstreamRedirected(f"{request.target.host} redirects more than {MAX_REDIRECTS} times; use the final URL.")

    @asynccontextmanager
    async def _exchange(
        self, hop: Hop, request: OutboundRequest, progress: _Progress
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        headers = {**hop.headers, "Accept-Encoding": ACCEPT_ENCODING}
        if hop.at_home:
            headers |= request.seal(hop.body or b"")
        async with self._session.request(
            hop.method,
            hop.target.url,
            headers=headers,
            data=hop.body,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            yield response

    async def _answer(self, response: aiohttp.ClientResponse, redirects: int) -> OutboundAnswer:
        body = await read_body(
            response.content.iter_any(),
            encoding=response.headers.get("Content-Encoding", ""),
            limit=self._max_body_bytes,
        )
        return OutboundAnswer(
            status=response.status,
            headers={name: ", ".join(response.headers.getall(name)) for name in response.headers},
            content_type=response.content_type,
            charset=response.charset,
            body=body.content,
            note=body.note,
            most_bytes=self._max_body_bytes,
            redirects=redirects,
        )


def _connection_tracing() -> aiohttp.TraceConfig:
    tracing = aiohttp.TraceConfig()

    async def connected(
        _session: aiohttp.ClientSession, context: SimpleNamespace, _: aiohttp.TraceConnectionCreateEndParams
    ) -> None:
        context.trace_request_ctx.connected = True

    tracing.on_connection_create_end.append(connected)
    return tracing


def _what_broke(error: Exception, target: Target) -> str:
    """Our own words: the exceptions' texts may hold addresses of the private network, or the whole URL."""
    place = f"{target.host} port {target.port}"
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"The name {target.host} could not be looked up."
        case aiohttp.ClientConnectorCertificateError():
            return f"The TLS certificate of {place} is not valid for it, or not trusted."
        case aiohttp.ClientConnectorSSLError():
            return f"No TLS connection to {place} could be agreed upon."
        case aiohttp.ClientConnectorError():
            return f"No connection to {place} could be made."
        case aiohttp.ClientResponseError():
            return f"{place} answered with something that is not HTTP."
        case _:
            return f"The connection to {place} broke before the answer was complete."
