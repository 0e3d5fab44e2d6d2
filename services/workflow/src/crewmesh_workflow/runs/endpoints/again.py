"""Beginning again: reruns and forks."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from fastapi import APIRouter, Response

from crewmesh_workflow.runs.again import Again
from crewmesh_workflow.runs.endpoints.common import BEGUN, BEGUN_STATUS, RunId, StepPath, TheRuns, Wait, Writer, answer
from crewmesh_workflow.runs.requests import Fork, Rerun, RerunFrom
from crewmesh_workflow.runs.schemas import RunDetail

router = APIRouter(prefix="/v1/runs/{run}")

TheAgain = Annotated[Again, provided(Again)]


@router.post("/rerun", status_code=BEGUN_STATUS, responses=BEGUN)
async def rerun(
    run: RunId,
    identity: Writer,
    again: TheAgain,
    runs: TheRuns,
    response: Response,
    request: Rerun | None = None,
    wait: Wait = 0,
    key: IdempotencyKey = None,
) -> RunDetail:
    """Start a new run with what started this one. All of it is done again."""
    begun = await again.rerun(identity, run, request or Rerun(), key=key, wait=wait)
    return await answer(begun, identity, runs, response)


@router.post("/rerun-from/{path}", status_code=BEGUN_STATUS, responses=BEGUN)
async def rerun_from(
    run: RunId,
    path: StepPath,
    identity: Writer,
    again: TheAgain,
    runs: TheRuns,
    response: Response,
    request: RerunFrom | None = None,
    wait: Wait = 0,
    key: IdempotencyKey = None,
) -> RunDetail:
    """Start a new run that takes over what was done, except for this step and what follows it."""
    begun = await again.rerun_from(identity, run, path, request or RerunFrom(), key=key, wait=wait)
    return await answer(begun, identity, runs, response)


@router.post("/fork", status_code=BEGUN_STATUS, responses=BEGUN)
async def fork(
    run: RunId,
    identity: Writer,
    again: TheAgain,
    runs: TheRuns,
    response: Response,
    request: Fork,
    wait: Wait = 0,
    key: IdempotencyKey = None,
) -> RunDetail:
    """Start a new run from where this one was, after an event or before a step, with other data if you like."""
    begun = await again.fork(identity, run, request, key=key, wait=wait)
    return await answer(begun, identity, runs, response)
