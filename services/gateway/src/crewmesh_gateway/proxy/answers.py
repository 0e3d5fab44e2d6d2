"""A service's answer on its way back: as it comes, without being collected.

What the sidecars say in the service's place (it is down, it may not be called) is put into words here, so that a client
meets problem documents only.
"""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
from crewmesh_kit.dapr.sidecar import problem_of
from crewmesh_kit.errors import PROBLEM_MEDIA_TYPE, BadGateway, Problem, Unavailable
from starlette.types import Send

from crewmesh_gateway.proxy.errors import ServiceClosed, ServiceUnavailable
from crewmesh_gateway.proxy.headers import passed_out

_SMALL = 64 * 1024
_WITHOUT_BODY = (204, 304)


class AnswerCutOff(Exception):  # noqa: N818  reads as the sentence it is
    """The service stopped in the middle of its answer; the client sees that it is not complete."""


async def pass_back(answer: aiohttp.ClientResponse, send: Send, *, last: Callable[[], None]) -> None:
    """``last`` is told before the last piece is sent."""
    headers = passed_out(answer.raw_headers)
    if answer.status in _WITHOUT_BODY:
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    start = {"type": "http.response.start", "status": answer.status, "headers": headers}
    if answer.content_length is not None and answer.content_length <= _SMALL:
        content = await answer.read()
        last()
        await send(start)
        await send({"type": "http.response.body", "body": content})
        return
    await send(start)
    await _stream(answer, send)
    last()
    await send({"type": "http.response.body", "body": b""})


async def _stream(answer: aiohttp.ClientResponse, send: Send) -> None:
    try:
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except aiohttp.ClientError as error:
        raise AnswerCutOff from error


async def refusal(app: str, answer: aiohttp.ClientResponse) -> Problem | None:
    """An error that is no problem document yet, as one. Services answer problem documents, sidecars do not."""
    if answer.status < 400 or answer.content_type == PROBLEM_MEDIA_TYPE or answer.method == "HEAD":
        return None
    problem = problem_of(app, answer.status, await answer.read(), answer.headers)
    if isinstance(problem, Unavailable):
        return ServiceUnavailable(app)
    return ServiceClosed(app) if isinstance(problem, BadGateway) else problem
