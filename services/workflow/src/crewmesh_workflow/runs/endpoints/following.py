"""Following runs: server-sent events that can be picked up where they broke off."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.sse import EVENTS, EventStream
from fastapi import APIRouter, Depends, Header, HTTPException, Query

from crewmesh_workflow.runs.endpoints.common import Reader, RunId, TheRuns
from crewmesh_workflow.runs.schemas import LIVE
from crewmesh_workflow.runs.stream import Streams

router = APIRouter(prefix="/v1/runs")


async def _follow_after(
    run: RunId,
    identity: Reader,
    runs: TheRuns,
    after: Annotated[int, Query(ge=0, description="Number of the last event the caller has.")] = 0,
    last_event_id: Annotated[str | None, Header(description="The same, as browsers send it.")] = None,
) -> int:
    """Where to go on; the run exists, and there is something to come."""
    if last_event_id:
        if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 10):
            raise InvalidRequest("Last-Event-ID must be the id of an event of this stream: a number.")
        after = int(last_event_id)
    found = await runs.glance(identity, run)
    if found.status not in LIVE and after >= found.last_event:
        # 204 tells an EventSource to stop coming back.
        raise HTTPException(204)
    if after > found.last_event:
        raise InvalidRequest(f"The run's last event is {found.last_event}, so nothing can follow event {after} yet.")
    return after


@router.get("/{run}/events", response_class=EventStream, responses={**EVENTS, 204: {"description": "Nothing follows."}})
async def follow_run(
    run: RunId,
    identity: Reader,
    streams: Annotated[Streams, provided(Streams)],
    lifecycle: Annotated[Lifecycle, provided(Lifecycle)],
    after: Annotated[int, Depends(_follow_after)],
) -> EventStream:
    """Follow a run: all its events so far, then each as it happens, until it is completed, failed or cancelled."""
    return EventStream(streams.follow(identity, run, after), lifecycle)
