"""Starting runs of a workflow, for real or to try it."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import Slug, WorkflowId
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from fastapi import APIRouter, Response

from crewmesh_workflow.runs.endpoints.common import BEGUN, BEGUN_STATUS, TheRuns, Wait, Writer, answer
from crewmesh_workflow.runs.requests import StartRun, TryRun
from crewmesh_workflow.runs.schemas import RunDetail
from crewmesh_workflow.runs.starts import Starts

router = APIRouter(prefix="/v1/workflows/{workflow}")

TheStarts = Annotated[Starts, provided(Starts)]
Workflow = WorkflowId | Slug


@router.post("/runs", status_code=BEGUN_STATUS, responses=BEGUN)
async def start_run(
    workflow: Workflow,
    identity: Writer,
    starts: TheStarts,
    runs: TheRuns,
    response: Response,
    request: StartRun | None = None,
    wait: Wait = 0,
    key: IdempotencyKey = None,
) -> RunDetail:
    """Start a run of a workflow, by its id or slug. The answer is the run; with ``wait``, as it has ended by then."""
    begun = await starts.start(identity, workflow, request or StartRun(), key=key, wait=wait)
    return await answer(begun, identity, runs, response)


@router.post("/test", status_code=BEGUN_STATUS, responses=BEGUN)
async def try_workflow(
    workflow: Workflow,
    identity: Writer,
    starts: TheStarts,
    runs: TheRuns,
    response: Response,
    request: TryRun | None = None,
    wait: Wait = 0,
    key: IdempotencyKey = None,
) -> RunDetail:
    """Try a workflow, by default its draft: nothing outside is touched, actions and waits give samples."""
    begun = await starts.test(identity, workflow, request or TryRun(), key=key, wait=wait)
    return await answer(begun, identity, runs, response)
