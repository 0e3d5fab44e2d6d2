"""What the endpoints of runs share: who may call them, waiting for a run, and how a new run is answered."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import RunId
from crewmesh_kit.app import provided
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import Path, Query, Response

from crewmesh_workflow.access import RUN, SEE_RUNS
from crewmesh_workflow.runs.schemas import RunDetail
from crewmesh_workflow.runs.service import Runs
from crewmesh_workflow.runs.starts import Begun

# The gateway gives a service 60 seconds until its answer begins.
LONGEST_WAIT_SECONDS = 55

# Of one run, or of those that one may see.
Reader = Annotated[Identity, reaching(SEE_RUNS)]
Writer = Annotated[Identity, reaching(RUN)]
TheRuns = Annotated[Runs, provided(Runs)]
Wait = Annotated[
    float,
    Query(
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Seconds to wait for the end of the run, or for the answer of its respond node.",
    ),
]
StepPath = Annotated[str, Path(max_length=1_000, description="As the list of steps tells it, percent-encoded.")]
BEGUN_STATUS = 201
BEGUN: dict[int | str, dict[str, object]] = {
    200: {"model": RunDetail, "description": "The run has ended, or answered, in the time that was waited."}
}


async def answer(begun: Begun, identity: Identity, runs: Runs, response: Response) -> RunDetail:
    """201 with the run; 200 when what was waited for has come."""
    response.status_code = 200 if begun.over else BEGUN_STATUS
    response.headers["Location"] = f"/v1/runs/{begun.run}"
    return await runs.get(identity, begun.run, RUN)


__all__ = ["BEGUN", "BEGUN_STATUS", "Reader", "RunId", "StepPath", "TheRuns", "Wait", "Writer", "answer"]
