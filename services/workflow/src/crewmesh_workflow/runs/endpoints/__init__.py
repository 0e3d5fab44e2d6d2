"""HTTP of runs: starting them, reading them, steering them, and beginning again from what they did."""

from __future__ import annotations

from fastapi import APIRouter

from crewmesh_workflow.runs.endpoints import again, following, reading, starting, steering

router = APIRouter(tags=["runs"])
for _part in (starting, reading, following, steering, again):
    router.include_router(_part.router)
