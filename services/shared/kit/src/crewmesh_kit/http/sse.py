"""Server-sent events: FastAPI encodes them and sends a comment every 15 s; this ends streams when the service stops.

A handler is an async generator with ``response_class=EventSourceResponse``::

    @router.get("/v1/…/events", response_class=EventSourceResponse)
    async def follow(lifecycle: Annotated[Lifecycle, provided(Lifecycle)]) -> AsyncIterator[ServerSentEvent]:
        async for event in until_stopping(lifecycle, service.follow(...)):
            yield ServerSentEvent(id=…, event=…, data=…)

A stream without an end would hold a shutdown up; cut off, its client comes back with Last-Event-ID, at another replica.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from fastapi.sse import EventSourceResponse, ServerSentEvent

from crewmesh_kit.health import Lifecycle

__all__ = ["EventSourceResponse", "ServerSentEvent", "until_stopping"]

T = TypeVar("T")


async def until_stopping(lifecycle: Lifecycle, source: AsyncIterator[T]) -> AsyncIterator[T]:
    """The items of ``source``, until it ends or the service is asked to stop."""
    stopping = asyncio.ensure_future(lifecycle.stopping.wait())
    upcoming: asyncio.Future[T] | None = None
    try:
        while True:
            upcoming = asyncio.ensure_future(anext(source))
            await asyncio.wait((upcoming, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not upcoming.done():
                return
            try:
                item = upcoming.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        stopping.cancel()
        if upcoming is not None and not upcoming.done():
            # Let the source clean up after itself before it is left.
            upcoming.cancel()
            await asyncio.wait((upcoming,))
