"""A service's answer on its way back: as it comes, without being collected.

What the sidecars say in the service's place (it is down, it may not be called) is put into words here. What the service
says itself, of whatever status, is known by the header with its length, and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
from crewmesh_kit.dapr.sidecar import check_whole, problem_of, told_length
from crewmesh_kit.errors import PROBLEM_MEDIA_TYPE, BadGateway, Problem, Unavailable
from crewmesh_kit.http.middleware import LENGTH_HEADER
from starlette.types import Send

from crewmesh_gateway.proxy.errors import ServiceClosed, ServiceUnavailable
from crewmesh_gateway.proxy.headers import passed_out

_SMALL = 64 * 1024
_WITHOUT_BODY = (204, 304)


class AnswerCutOff(Exception):  # noqa: N818  reads as the sentence it is
    """The service stopped in the middle of its answer; the client sees that it is not complete."""


async def pass_back(app: str, answer: aiohttp.ClientResponse, send: Send, *, last: Callable[[], None]) -> None:
    """``last`` is told before the last piece is sent."""
    headers = passed_out(answer.raw_headers)
    if answer.status in _WITHOUT_BODY:
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    length = told_length(answer)
    if length is not None and length <= _SMALL:
        content = await answer.read()
        check_whole(app, answer, len(content))
        last()
        await send({"type": "http.response.start", "status": answer.status, "headers": _measured(headers, length)})
        await send({"type": "http.response.body", "body": content})
        return
    headers = headers if length is None else _measured(headers, length)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    streamed = await _stream(answer, send)
    if length is not None and streamed != length:
        raise AnswerCutOff  # the client was told the length, so it sees it too
    last()
    await send({"type": "http.response.body", "body": b""})


def _measured(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


async def _stream(answer: aiohttp.ClientResponse, send: Send) -> int:
    """How many bytes passed."""
    passed = 0
    try:
        async for chunk in answer.content.iter_any():
            passed += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except aiohttp.ClientError as error:
        raise AnswerCutOff from error
    return passed


async def refusal(app: str, answer: aiohttp.ClientResponse) -> Problem | None:
    """What was said in the service's place, as a problem; None for what the service itself said, error or not."""
    if answer.status < 400 or answer.content_type == PROBLEM_MEDIA_TYPE or answer.method == "HEAD":
        return None
    # No sidecar says it, and no service whose framework answers when all of ours has failed.
    if LENGTH_HEADER in answer.headers:
        return None
    problem = problem_of(app, answer.status, await answer.read(), answer.headers)
    if isinstance(problem, Unavailable):
        return ServiceUnavailable(app)
    return ServiceClosed(app) if isinstance(problem, BadGateway) else problem
