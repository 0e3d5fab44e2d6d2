"""Steering runs: cancel, pause, go on, forget. All of it can be asked again without doing more."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from fastapi import APIRouter

from crewmesh_workflow.access import RUN
from crewmesh_workflow.runs.control import RunControl
from crewmesh_workflow.runs.endpoints.common import RunId, TheRuns, Writer
from crewmesh_workflow.runs.schemas import RunDetail

router = APIRouter(prefix="/v1/runs/{run}")

Control = Annotated[RunControl, provided(RunControl)]


@router.post("/cancel")
async def cancel_run(run: RunId, identity: Writer, control: Control, runs: TheRuns) -> RunDetail:
    """Cancel a run: what is under way is stopped, what was done is undone where it can be, then it is cancelled."""
    await control.cancel(identity, run)
    return await runs.get(identity, run, RUN)


@router.post("/pause")
async def pause_run(run: RunId, identity: Writer, control: Control, runs: TheRuns) -> RunDetail:
    """Pause a run: actions under way come to their end, and nothing new begins until it is resumed."""
    await control.pause(identity, run)
    return await runs.get(identity, run, RUN)


@router.post("/resume")
async def resume_run(run: RunId, identity: Writer, control: Control, runs: TheRuns) -> RunDetail:
    """Let a paused run go on."""
    await control.resume(identity, run)
    return await runs.get(identity, run, RUN)


@router.delete("", status_code=204)
async def delete_run(run: RunId, identity: Writer, control: Control) -> None:
    """Forget a run that has ended, with its steps, events and decisions."""
    await control.delete(identity, run)
