"""HTTP of exports."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Response, status
from fastapi.responses import StreamingResponse

from crewmesh_gateway.exports.schemas import Export
from crewmesh_gateway.exports.service import Exports
from crewmesh_gateway.ids import IdText
from crewmesh_gateway.principals.access import needs
from crewmesh_gateway.principals.models import Principal

router = APIRouter(prefix="/v1/exports", tags=["data"])

Reader = Annotated[Principal, needs("data:read")]
# Also from an organization that is deleted: whoever leaves takes their data along.
Writer = Annotated[Principal, needs("data:write", while_deleting=True)]
TheExports = Annotated[Exports, provided(Exports)]


@router.post("", status_code=status.HTTP_201_CREATED, summary="Export everything the organization owns")
async def request_export(principal: Writer, exports: TheExports, response: Response) -> Export:
    """Gathered in the background: GET it for its progress, and its file when it is done."""
    export = await exports.request(principal)
    response.headers["Location"] = f"/v1/exports/{export.id}"
    return export


@router.get("", summary="The organization's exports, newest first")
async def list_exports(principal: Reader, exports: TheExports, page: PageQuery) -> Page[Export]:
    return await exports.all(principal, page)


@router.get("/{export}", summary="How far an export has come")
async def get_export(export: IdText, principal: Reader, exports: TheExports) -> Export:
    return await exports.one(principal, export)


@router.get(
    "/{export}/file",
    summary="The file of an export",
    response_class=StreamingResponse,
    responses={200: {"description": "JSON lines, compressed.", "content": {"application/gzip": {}}}},
)
async def get_export_file(export: IdText, principal: Writer, exports: TheExports) -> StreamingResponse:
    """Each line is ``{"service", "table", "row"}``; secrets are masked."""
    name = f'attachment; filename="{export}.jsonl.gz"'
    return StreamingResponse(
        await exports.file(principal, export),
        media_type="application/gzip",
        headers={"Content-Disposition": name, "Cache-Control": "no-store"},
    )


@router.delete("/{export}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete an export and its file")
async def delete_export(export: IdText, principal: Writer, exports: TheExports) -> None:
    await exports.delete(principal, export)
