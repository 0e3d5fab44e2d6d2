"""Workflows as files: a whole set, or one."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from fastapi import APIRouter

from crewmesh_workflow.definitions.applying import Applying
from crewmesh_workflow.definitions.endpoints.common import TAKES_DEFINITION, Document, Maker
from crewmesh_workflow.definitions.schemas import Applied, ApplyRequest, Plan

router = APIRouter(prefix="/v1/workflows", tags=["workflows"])

TheApplying = Annotated[Applying, provided(Applying)]


@router.post("/apply")
async def apply_files(
    request: ApplyRequest, identity: Maker, applying: TheApplying, key: IdempotencyKey = None
) -> Plan:
    """Make workflows what files say, all of them or none. With dry_run: tell what would be done."""
    return await applying.apply(identity, request, key=key)


@router.post("/import", openapi_extra=TAKES_DEFINITION)
async def import_workflow(
    document: Document, identity: Maker, applying: TheApplying, key: IdempotencyKey = None
) -> Applied:
    """Create the workflow with the slug of this definition, or publish it as the next version of that workflow."""
    return await applying.import_(identity, document, key=key)
