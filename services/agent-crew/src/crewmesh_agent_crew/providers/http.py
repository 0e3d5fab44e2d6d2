"""One request to a model server: bounded in size, redirects not followed, closed as soon as nobody waits any more.

Whole answers are read up to a limit. Streamed ones are handed on as they come; each protocol bounds what it gathers of
them. Whatever goes wrong below the protocol becomes a ProviderError here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from crewmesh_agent_crew.providers.addresses import Gate
from crewmesh_agent_crew.providers.draft import too_large
from crewmesh_agent_crew.providers.failures import failure_of
from crewmesh_agent_crew.providers.protocol import Account, ProviderError

_LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
# A token takes some hundred bytes on its way in a stream.
_LARGEST_STREAM_BYTES = 64 * 1024 * 1024
_LARGEST_REFUSAL_BYTES = 64 * 1024
# What follows the last word is the end of the body; having read it, the connection serves the next call.
_END_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Outgoing:
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = None
    method: str = "POST"


class Http:
    """``trusted`` reaches any server, for accounts that lead where the operator said. ``guarded`` asks the gate."""

    def __init__(self, trusted: aiohttp.ClientSession, guarded: aiohttp.ClientSession, gate: Gate) -> None:
        self._trusted = trusted
        self._guarded = guarded
        self._gate = gate

    async def whole(self, account: Account, request: Outgoing) -> bytes:
        async with self._answer(account, request) as answer:
            return await _bounded(answer, _LARGEST_ANSWER_BYTES)

    @asynccontextmanager
    async def streamed(self, account: Account, request: Outgoing) -> AsyncGenerator[AsyncIterator[bytes]]:
        async with self._answer(account, request) as answer:
            yield _pieces(answer)
            await _read_to_the_end(answer)

    @asynccontextmanager
    async def _answer(self, account: Account, request: Outgoing) -> AsyncGenerator[aiohttp.ClientResponse]:
        trusted = account.trusted or account.organization is None
        if not trusted:
            self._gate.check(request.url)
        session = self._trusted if trusted else self._guarded
        begun = False
        try:
            # Redirects are not followed: the key would travel to wherever they point.
            async with session.request(
                request.method,
                URL(request.url, encoded=True),  # as it was written, for some servers check a signature of it
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
            ) as answer:
                begun = True
                if answer.status != 200:
                    raise failure_of(answer.status, answer.headers, await _excerpt(answer))
                yield answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ProviderError("unavailable", f"its server cannot be reached ({type(error).__name__})") from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise ProviderError("refused", "its address is no URL") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _broken_off(error, begun=begun) from error


def _broken_off(error: Exception, *, begun: bool) -> ProviderError:
    """The request was sent: what the server did of it is not known, and may be charged."""
    if begun:
        return ProviderError("cut", "the connection broke in the middle of its answer", tokens_paid=True)
    detail = f"its server closed the connection ({type(error).__name__})"
    return ProviderError("unavailable", detail, tokens_paid=True)


async def _bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)


async def _excerpt(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of a refusal: the reason stands there, and what follows is of no use."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _LARGEST_REFUSAL_BYTES:
            break
    return bytes(body[:_LARGEST_REFUSAL_BYTES])


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > _LARGEST_STREAM_BYTES:
            raise too_large(_LARGEST_STREAM_BYTES)
        yield chunk


async def _read_to_the_end(answer: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(_END_SECONDS):
            await answer.content.read(1)
    except (TimeoutError, aiohttp.ClientError):
        # The answer is complete; only the connection is not worth keeping.
        answer.close()
