"""``POST /internal/stop``: the contract ``STOP_THINKING``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import STOP_THINKING, StopRequest, StopResult
from crewmesh_kit.app import provided
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.stopping.service import Stopping

router = APIRouter(tags=["stopping"])


@router.post(STOP_THINKING.path)
async def stop(
    request: StopRequest,
    identity: Annotated[Identity, requires(STOP_THINKING.permission)],
    stopping: Annotated[Stopping, provided(Stopping)],
    crew_runs: Annotated[CrewRuns, provided(CrewRuns)],
) -> StopResult:
    stopped = await stopping.stop(identity, request.key)
    return StopResult(stopped=await crew_runs.stop_key(identity.organization, request.key) or stopped.stopped)
