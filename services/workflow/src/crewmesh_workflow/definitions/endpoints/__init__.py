"""HTTP of workflows, their drafts, their versions, and of files that hold them."""

from __future__ import annotations

from fastapi import APIRouter

from crewmesh_workflow.definitions.endpoints import apply, drafts, versions, workflows

router = APIRouter()
for part in (apply, workflows, drafts, versions):
    router.include_router(part.router)

__all__ = ["router"]
