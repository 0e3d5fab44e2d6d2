"""Workflows: create, list, get, export, pause, archive, check."""

from __future__ import annotations

from typing import Annotated, Literal

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.documents.reading import MEDIA_TYPES
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch, answer_unchanged, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Query, Response

from crewmesh_workflow.definitions.checking import check_aside
from crewmesh_workflow.definitions.documents import write_document
from crewmesh_workflow.definitions.endpoints.common import (
    TAKES_DEFINITION,
    TAKES_DRAFT,
    Document,
    Maker,
    Reader,
    WorkflowRef,
    Writer,
)
from crewmesh_workflow.definitions.repository import NOT_ARCHIVED, Filters
from crewmesh_workflow.definitions.schemas import (
    Created,
    StatusRequest,
    Validity,
    Workflow,
    WorkflowStatus,
    WorkflowSummary,
)
from crewmesh_workflow.definitions.service import Definitions

router = APIRouter(prefix="/v1/workflows", tags=["workflows"])

TheDefinitions = Annotated[Definitions, provided(Definitions)]


@router.post("", status_code=201, openapi_extra=TAKES_DEFINITION)
async def create_workflow(
    document: Document,
    identity: Maker,
    definitions: TheDefinitions,
    response: Response,
    publish: Annotated[bool, Query(description="false: only save a draft, which may be wrong as yet.")] = True,
    key: IdempotencyKey = None,
) -> Created:
    """Save a workflow and publish its version 1. Every mistake in it is listed at once; what is published can run."""
    created = await definitions.create(identity, document, publish=publish, key=key)
    response.headers["ETag"] = etag_of(_tag(created))
    response.headers["Location"] = f"/v1/workflows/{created.id}"
    return created


@router.get("")
async def list_workflows(
    identity: Reader,
    definitions: TheDefinitions,
    page: PageQuery,
    status: Annotated[
        list[WorkflowStatus] | None, Query(description="Only of these; by default all that are not archived.")
    ] = None,
    slug: Annotated[str | None, Query(max_length=64, description="Only the one with this slug.")] = None,
    name: Annotated[str | None, Query(max_length=200, description="Only those whose name holds this.")] = None,
    trigger: Annotated[str | None, Query(max_length=64, description="Only those with a trigger of this kind.")] = None,
) -> Page[WorkflowSummary]:
    """List the organization's workflows, the newest first."""
    statuses = tuple(status) if status else NOT_ARCHIVED
    return await definitions.page(identity, page, Filters(statuses, slug, name, trigger))


@router.post("/validate", openapi_extra=TAKES_DRAFT)
async def validate_workflow(document: Document, identity: Reader) -> Validity:
    """Check a definition without saving it: everything that is wrong, each with its place and what to do."""
    return Validity.of((await check_aside(document)).mistakes)


@router.get("/{workflow}", responses=UNCHANGED)
async def get_workflow(
    workflow: WorkflowRef,
    identity: Reader,
    definitions: TheDefinitions,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Workflow:
    """Get a workflow with the definition of its newest version."""
    found = await definitions.get(identity, workflow)
    answer_unchanged(if_none_match, _tag(found), response)
    return found


@router.delete("/{workflow}", status_code=204)
async def archive_workflow(
    workflow: WorkflowRef, identity: Writer, definitions: TheDefinitions, if_match: IfMatch = None
) -> None:
    """Archive a workflow: nothing starts it any more; its runs go on and its history stays."""
    await definitions.set_status(identity, workflow, StatusRequest(status="archived"), if_match=if_match)


@router.put("/{workflow}/status")
async def set_workflow_status(
    workflow: WorkflowRef,
    request: StatusRequest,
    identity: Writer,
    definitions: TheDefinitions,
    response: Response,
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Workflow:
    """Pause, archive, or make active again. Unless it is active, nothing starts it; runs that have begun go on."""
    changed = await definitions.set_status(identity, workflow, request, if_match=if_match, key=key)
    response.headers["ETag"] = etag_of(_tag(changed))
    return changed


@router.get(
    "/{workflow}/export",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
)
async def export_workflow(
    workflow: WorkflowRef,
    identity: Reader,
    definitions: TheDefinitions,
    notation: Annotated[Literal["json", "yaml"], Query(alias="format")] = "json",
) -> Response:
    """Get the published definition as a file: short, and ready for POST /v1/workflows/apply."""
    definition = await definitions.published(identity, workflow)
    name = f"{definition.slug or workflow}.{notation}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(write_document(definition, notation), media_type=MEDIA_TYPES[notation], headers=headers)


def _tag(workflow: Workflow) -> str:
    return f"{workflow.version}.{workflow.draft_revision}.{workflow.status}"
