"""Reading runs: lists, one run, its steps, and what happened in it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated

from crewmesh_contracts.ids import Slug
from crewmesh_kit.http.etags import UNCHANGED, IfNoneMatch, answer_unchanged
from crewmesh_kit.http.pagination import LARGEST_PAGE, Page, PageQuery
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime

from crewmesh_workflow.runs.endpoints.common import Reader, RunId, StepPath, TheRuns
from crewmesh_workflow.runs.logs import as_text
from crewmesh_workflow.runs.repository import Filters
from crewmesh_workflow.runs.schemas import (
    LogLine,
    Origin,
    RunDetail,
    RunStats,
    RunStatus,
    RunSummary,
    StepDetail,
    StepStatus,
    StepSummary,
)
from crewmesh_workflow.runs.steps import StepFilters

router = APIRouter(prefix="/v1/runs")

Text = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


async def _filters(
    status: Annotated[tuple[RunStatus, ...], Query(description="One or several.")] = (),
    workflow: Annotated[Slug | None, Query(description="The id or slug of a workflow.")] = None,
    version: Annotated[int | None, Query(ge=-(1 << 31), lt=1 << 31)] = None,
    origin: Origin | None = None,
    test: Annotated[bool | None, Query(description="Only test runs, or none.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Started then or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Started before.")] = None,
    started_by: Text = None,
    parent: Annotated[RunId | None, Query(description="Started by steps of this run.")] = None,
    source: Annotated[RunId | None, Query(description="Reruns and forks of this run.")] = None,
    error: Annotated[Text, Query(description="The slug of what they failed with.")] = None,
    text: Annotated[Text, Query(description="Stands in what they failed with.")] = None,
) -> Filters:
    return Filters(
        statuses=status,
        workflow=workflow,
        version=version,
        origin=origin,
        test=test,
        since=since,
        until=until,
        started_by=started_by,
        parent=parent,
        source=source,
        error=error,
        text=text,
    )


@router.get("")
async def list_runs(
    identity: Reader, runs: TheRuns, page: PageQuery, filters: Annotated[Filters, Depends(_filters)]
) -> Page[RunSummary]:
    """List the organization's runs, the newest first."""
    return await runs.page(identity, page, filters)


@router.get("/stats")
async def count_runs(identity: Reader, runs: TheRuns) -> RunStats:
    """Count the runs that have not ended, by status and workflow, and say how the newest that ended did."""
    return await runs.stats(identity)


@router.get("/{run}", response_model=RunDetail, responses=UNCHANGED)
async def get_run(run: RunId, identity: Reader, runs: TheRuns, if_none_match: IfNoneMatch = None) -> Response:
    """Get a run with what started it and what came of it, or what it waits for."""
    # Written down once, for the ETag and for the caller: nothing is asked for as often.
    found = (await runs.get(identity, run)).model_dump_json().encode()
    # Not the number of its last event: decisions about it and runs that it started tell no event of it.
    answer = Response(found, media_type="application/json")
    answer_unchanged(if_none_match, hashlib.sha256(found).hexdigest()[:32], answer)
    return answer


@router.get("/{run}/steps")
async def list_steps(
    run: RunId,
    identity: Reader,
    runs: TheRuns,
    page: PageQuery,
    status: Annotated[tuple[StepStatus, ...], Query(description="One or several.")] = (),
    prefix: Annotated[Text, Query(description="Only steps whose path begins so: loop[3].")] = None,
    nested: Annotated[bool, Query(description="false: only steps of the workflow itself.")] = True,
) -> Page[StepSummary]:
    """List the steps of a run in the order in which they began, with what went in and came out."""
    return await runs.steps(identity, run, page, StepFilters(statuses=status, prefix=prefix, nested=nested))


@router.get("/{run}/steps/{path}")
async def get_step(run: RunId, path: StepPath, identity: Reader, runs: TheRuns) -> StepDetail:
    """Get a step by its path, with all that went in and came out, however large."""
    return await runs.step(identity, run, path)


@router.get(
    "/{run}/logs",
    responses={200: {"model": Page[LogLine], "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_logs(request: Request, run: RunId, identity: Reader, runs: TheRuns, page: PageQuery) -> Response:
    """Read what happened in a run, in order, as sentences: JSON, or lines of text with ``Accept: text/plain``.

    Text comes in the largest pages unless a limit is given; where there is more, its last line says so.
    """
    if not _wants_text(request):
        found = await runs.logs(identity, run, page)
        return Response(found.model_dump_json(), media_type="application/json")
    if "limit" not in request.query_params:
        page = replace(page, limit=LARGEST_PAGE)
    found = await runs.logs(identity, run, page)
    text, headers = as_text(found.items), {"X-Content-Type-Options": "nosniff"}
    if found.next_cursor is not None:
        following = f"?limit={page.limit}&cursor={found.next_cursor}"
        text += f"# There is more: GET /v1/runs/{run}/logs{following}\n"
        headers["Link"] = f'<{following}>; rel="next"'
    return PlainTextResponse(text, headers=headers)


def _wants_text(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "text/plain" in accepted and "application/json" not in accepted
