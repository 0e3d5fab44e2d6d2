"""Server-sent events: sent as they come, with a sign of life in between, until they end or the service stops.

::

    @router.get("/v1/…/events", response_class=EventStream, responses=EVENTS)
    async def follow(lifecycle: Annotated[Lifecycle, provided(Lifecycle)]) -> EventStream:
        return EventStream(service.follow(...), lifecycle)

What is yielded at once is sent at once: several events that happened together are one piece, for each piece is carried
through every hop by itself. A stream without an end would hold a shutdown up; cut off, its client comes back with
Last-Event-ID, at another replica.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from crewmesh_contracts.base import JsonObject
from pydantic_core import to_json
from starlette.responses import StreamingResponse

from crewmesh_kit.health import Lifecycle

HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b": still here\n\n"
_EVENT_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
}
# How a route that answers with a stream describes it.
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events, as they happen.",
        "content": {"text/event-stream": {"itemSchema": _EVENT_SCHEMA}},
    }
}


def encoded(event_id: str, kind: str, data: JsonObject) -> bytes:
    """One event in the format of the standard. Neither id nor kind may hold a line break."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), kind.encode(), to_json(data))


class EventStream(StreamingResponse):
    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        lifecycle: Lifecycle,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        status_code: int = 200,  # FastAPI reads the default for the API's description
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_alive(pieces, lifecycle, heartbeat_seconds), status_code=status_code, headers=headers)


async def _alive(source: AsyncIterator[bytes], lifecycle: Lifecycle, heartbeat_seconds: float) -> AsyncIterator[bytes]:
    """The pieces of ``source`` and a comment whenever it is silent, until it ends or the service is asked to stop."""
    stopping = asyncio.ensure_future(lifecycle.stopping.wait())
    upcoming: asyncio.Future[bytes] | None = None
    try:
        while not stopping.done():
            upcoming = upcoming or asyncio.ensure_future(anext(source))
            await asyncio.wait((upcoming, stopping), timeout=heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED)
            if upcoming.done():
                try:
                    piece = upcoming.result()
                except StopAsyncIteration:
                    return
                upcoming = None
                yield piece
            elif not stopping.done():
                yield _HEARTBEAT
    finally:
        stopping.cancel()
        if upcoming is not None and not upcoming.done():
            # Let the source clean up after itself before it is left.
            upcoming.cancel()
            await asyncio.wait((upcoming,))
