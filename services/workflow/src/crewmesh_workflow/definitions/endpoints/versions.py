"""Versions: the history, what differs, the way back, and the runs that could move."""

from __future__ import annotations

from typing import Annotated, Literal

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch, answer_unchanged, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Path, Response

from crewmesh_workflow.definitions.diff import Diff
from crewmesh_workflow.definitions.endpoints.common import (
    Reader,
    WorkflowRef,
    Writer,
)
from crewmesh_workflow.definitions.moves import Moves
from crewmesh_workflow.definitions.schemas import (
    Moved,
    MoveRequest,
    Published,
    RollbackRequest,
    Version,
    VersionNumber,
    VersionSummary,
)
from crewmesh_workflow.definitions.versions import Versions

router = APIRouter(prefix="/v1/workflows", tags=["workflows"])

TheVersions = Annotated[Versions, provided(Versions)]


@router.get("/{workflow}/versions")
async def list_versions(
    workflow: WorkflowRef, identity: Reader, versions: TheVersions, page: PageQuery
) -> Page[VersionSummary]:
    """List the versions, the newest first, each with the runs on it that have not ended."""
    return await versions.page(identity, workflow, page)


@router.get("/{workflow}/versions/{version}", responses=UNCHANGED)
async def get_version(
    workflow: WorkflowRef,
    version: Annotated[VersionNumber, Path()],
    identity: Reader,
    versions: TheVersions,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Version:
    """Get a version with its definition."""
    found = await versions.get(identity, workflow, version)
    answer_unchanged(if_none_match, found.version, response)
    return found


@router.get("/{workflow}/versions/{before}/diff/{after}")
async def diff_versions(
    workflow: WorkflowRef,
    before: Annotated[VersionNumber, Path()],
    after: Annotated[VersionNumber | Literal["draft"], Path()],
    identity: Reader,
    versions: TheVersions,
) -> Diff:
    """Tell what differs between two versions, or a version and the draft: nodes, edges, triggers and the rest."""
    return await versions.diff(identity, workflow, before, after)


@router.post("/{workflow}/rollback")
async def roll_back(
    workflow: WorkflowRef,
    request: RollbackRequest,
    identity: Writer,
    versions: TheVersions,
    response: Response,
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Published:
    """Publish the content of an old version again, as a new version. A draft stays what it is."""
    published = await versions.rollback(identity, workflow, request, if_match=if_match, key=key)
    response.headers["ETag"] = etag_of(f"{published.version}.{published.draft_revision}")
    return published


@router.post("/{workflow}/versions/{version}/migrate")
async def move_runs(
    workflow: WorkflowRef,
    version: Annotated[VersionNumber, Path()],
    request: MoveRequest,
    identity: Writer,
    moves: Annotated[Moves, provided(Moves)],
    key: IdempotencyKey = None,
) -> Moved:
    """Tell which runs of this version could go on with another (dry_run), or move them. Up to 200 runs an answer."""
    return await moves.move(identity, workflow, version, request, key=key)
