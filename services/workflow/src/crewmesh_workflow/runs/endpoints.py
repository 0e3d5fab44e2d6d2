"""HTTP of runs, their steps, and the stream of their events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.ids import RunId, WorkflowId
from crewmesh_kit.app import provided
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.etags import etag_of, is_current
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.http.sse import EventSourceResponse, ServerSentEvent, until_stopping
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response

from crewmesh_workflow.runs.schemas import RunDetail, RunStatus, RunSummary, Steps
from crewmesh_workflow.runs.service import Runs
from crewmesh_workflow.runs.stream import Streams

router = APIRouter(prefix="/v1/runs", tags=["runs"])

Reader = Annotated[Identity, requires("runs:read")]
TheRuns = Annotated[Runs, provided(Runs)]


@router.get("")
async def list_runs(
    identity: Reader,
    runs: TheRuns,
    page: PageQuery,
    status: Annotated[RunStatus | None, Query(description="Only runs of this status.")] = None,
    workflow: Annotated[WorkflowId | None, Query(description="Only runs of this workflow.")] = None,
) -> Page[RunSummary]:
    """List the organization's runs, the newest first."""
    return await runs.page(identity, page, status=status, workflow=workflow)


@router.get("/{run}", responses={304: {"description": "Unchanged since the ETag given in If-None-Match."}})
async def get_run(
    run: RunId,
    identity: Reader,
    runs: TheRuns,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> RunDetail:
    """Get a run with what started it and what came of it."""
    found = await runs.get(identity, run)
    if is_current(if_none_match, found.last_event):
        raise HTTPException(304, headers={"ETag": etag_of(found.last_event)})
    response.headers["ETag"] = etag_of(found.last_event)
    return found


@router.get("/{run}/steps")
async def get_steps(run: RunId, identity: Reader, runs: TheRuns) -> Steps:
    """Get the steps of a run with their inputs and outputs."""
    return await runs.steps(identity, run)


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
    if found.status != "running" and after >= found.last_event:
        # 204 tells an EventSource to stop coming back.
        raise HTTPException(204)
    return after


@router.get("/{run}/events", response_class=EventSourceResponse, responses={204: {"description": "Nothing follows."}})
async def follow_run(
    run: RunId,
    identity: Reader,
    streams: Annotated[Streams, provided(Streams)],
    lifecycle: Annotated[Lifecycle, provided(Lifecycle)],
    after: Annotated[int, Depends(_follow_after)],
) -> AsyncIterator[ServerSentEvent]:
    """Follow a run: all its events so far, then each as it happens, until run.completed or run.failed."""
    async for event in until_stopping(lifecycle, streams.follow(identity, run, after)):
        data: JsonObject = {"run": run, "at": event.at.isoformat(), **event.data}
        yield ServerSentEvent(id=str(event.seq), event=event.type, data=data)
