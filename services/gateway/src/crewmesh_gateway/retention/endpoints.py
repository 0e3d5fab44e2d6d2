"""HTTP of retention policies."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from fastapi import APIRouter, Path

from crewmesh_gateway.principals.access import needs
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.retention.schemas import (
    PreviewRequest,
    RetentionChange,
    RetentionPolicies,
    RetentionPolicy,
    RetentionPreview,
)
from crewmesh_gateway.retention.service import RetentionPolicyService

router = APIRouter(prefix="/v1/retention", tags=["data"])

TheService = Annotated[RetentionPolicyService, provided(RetentionPolicyService)]


@router.get("", summary="For how long data of each kind is kept")
async def list_retention_policies(
    principal: Annotated[Principal, needs("data:read")], service: TheService
) -> RetentionPolicies:
    return await service.policies(principal)


@router.put("/{kind}", summary="Say for how long data of this kind is kept")
async def change_retention_policy(
    kind: Annotated[str, Path(max_length=60, examples=["runs"])],
    change: RetentionChange,
    principal: Annotated[Principal, needs("data:write")],
    service: TheService,
) -> RetentionPolicy:
    """What is older is forgotten within the hour, for good. Ask for a preview first."""
    return await service.change(principal, kind, change.days)


@router.post("/preview", summary="How much a policy would forget at once")
async def preview_retention_policy(
    request: PreviewRequest, principal: Annotated[Principal, needs("data:read")], service: TheService
) -> RetentionPreview:
    return await service.preview(principal, request.kind, request.days)
