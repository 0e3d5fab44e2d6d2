"""HTTP of workflows."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import WorkflowId
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import etag_of, is_current
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Header, HTTPException, Response

from crewmesh_workflow.definitions.schemas import Workflow, WorkflowSummary
from crewmesh_workflow.definitions.service import Definitions

router = APIRouter(prefix="/v1/workflows", tags=["workflows"])

Reader = Annotated[Identity, requires("workflows:read")]
Writer = Annotated[Identity, requires("workflows:write")]
TheDefinitions = Annotated[Definitions, provided(Definitions)]


@router.post("", status_code=201)
async def create_workflow(
    definition: Definition,
    identity: Writer,
    definitions: TheDefinitions,
    response: Response,
    key: IdempotencyKey = None,
) -> Workflow:
    """Save a workflow. Every mistake in it is listed at once; what is saved can run."""
    created = await definitions.create(identity, definition, key=key)
    response.headers["ETag"] = etag_of(created.version)
    response.headers["Location"] = f"/v1/workflows/{created.id}"
    return created


@router.get("")
async def list_workflows(identity: Reader, definitions: TheDefinitions, page: PageQuery) -> Page[WorkflowSummary]:
    """List the organization's workflows, the newest first."""
    return await definitions.page(identity, page)


@router.get("/{workflow}", responses={304: {"description": "Unchanged since the ETag given in If-None-Match."}})
async def get_workflow(
    workflow: WorkflowId,
    identity: Reader,
    definitions: TheDefinitions,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Workflow:
    """Get a workflow with the definition of its newest version."""
    found = await definitions.get(identity, workflow)
    if is_current(if_none_match, found.version):
        raise HTTPException(304, headers={"ETag": etag_of(found.version)})
    response.headers["ETag"] = etag_of(found.version)
    return found
