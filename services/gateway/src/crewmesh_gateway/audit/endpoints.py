"""HTTP of the audit log."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from crewmesh_gateway.audit.export import MEDIA_TYPES, Format, as_csv, as_json
from crewmesh_gateway.audit.schemas import AuditEvent, FilterQuery, Verified
from crewmesh_gateway.audit.service import AuditLog
from crewmesh_gateway.ids import IdText
from crewmesh_gateway.principals.access import needs
from crewmesh_gateway.principals.models import Principal

router = APIRouter(prefix="/v1/audit-events", tags=["audit"])

Auditor = Annotated[Principal, needs("audit:read")]
TheLog = Annotated[AuditLog, provided(AuditLog)]


@router.get("")
async def list_audit_events(
    principal: Auditor, audit_log: TheLog, page: PageQuery, filters: FilterQuery
) -> Page[AuditEvent]:
    """List what was changed and what was refused, the newest first."""
    return await audit_log.page(principal.organization, page, filters)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
)
async def export_audit_events(
    principal: Auditor,
    audit_log: TheLog,
    filters: FilterQuery,
    notation: Annotated[Format, Query(alias="format", description="How the file is written.")] = "json",
) -> StreamingResponse:
    """Get the log as a file, the oldest line first."""
    pages = audit_log.exported(principal.organization, filters)
    headers = {"Content-Disposition": f'attachment; filename="audit-events.{notation}"', "Cache-Control": "no-store"}
    text = as_csv(pages) if notation == "csv" else as_json(pages)
    return StreamingResponse(text, media_type=MEDIA_TYPES[notation], headers=headers)


@router.post("/verify")
async def verify_audit_events(principal: Auditor, audit_log: TheLog) -> Verified:
    """Check that no line was changed, removed or put in since it was written."""
    return await audit_log.verify(principal.organization)


@router.get("/{id}")
async def get_audit_event(
    id_: Annotated[IdText, Path(alias="id")], principal: Auditor, audit_log: TheLog
) -> AuditEvent:
    """Get one line."""
    return await audit_log.get(principal.organization, id_)
