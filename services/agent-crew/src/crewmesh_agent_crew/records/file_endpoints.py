"""The routes by which records of every kind go out as files and come in as such.

The annotations of these handlers are made while the routes are, so they are not postponed here.
"""

import asyncio
from typing import Annotated, Any, Literal

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.documents.reading import MEDIA_TYPES, notation_of_media_type
from crewmesh_kit.errors import PayloadTooLarge
from crewmesh_kit.identity import Identity
from fastapi import APIRouter, Query, Request, Response

from crewmesh_agent_crew.records.documents import read_definitions, write_definition
from crewmesh_agent_crew.records.importing import Imported, Importing
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.routes import Asks, Ref
from crewmesh_agent_crew.records.service import Records
from crewmesh_agent_crew.records.shelf import Shelf

LARGEST_BYTES = 1024 * 1024


def file_router(shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> APIRouter:
    router = APIRouter(prefix=f"/v1/{shelf.path}", tags=[shelf.path])
    files: dict[int | str, dict[str, Any]] = {200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}}

    @router.get("/{ref}/export", response_class=Response, responses=files, name=f"export_{shelf.one}")
    async def export(
        ref: Ref,
        identity: Annotated[Identity, asks.see],
        records: Annotated[Records[DefinitionT], provided(service)],
        notation: Annotated[Literal["json", "yaml"], Query(alias="format")] = "json",
    ) -> Response:
        """Get the definition as a file: short, and ready to be imported."""
        record = await records.get(identity, ref)
        name = f"{record.definition.name}.{notation}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        text = write_definition(record.definition, notation)
        return Response(text, media_type=MEDIA_TYPES[notation], headers=headers)

    @router.post("/import", openapi_extra=_takes(shelf), name=f"import_{shelf.table}")
    async def import_(
        request: Request,
        identity: Annotated[Identity, asks.make],
        records: Annotated[Records[DefinitionT], provided(service)],
        dry_run: Annotated[bool, Query(description="true: only tell what would become of the documents.")] = False,
        key: IdempotencyKey = None,
    ) -> Imported:
        """Create or change what the documents name, all of it or nothing. Every mistake is listed at once."""
        notation = notation_of_media_type(request.headers.get("content-type", ""))
        body = await request.body()
        if len(body) > LARGEST_BYTES:
            raise PayloadTooLarge(f"An import may have {LARGEST_BYTES // 1024} KiB. Send several.")
        documents = await asyncio.to_thread(read_definitions, body, notation, shelf.model)
        return await Importing(records).import_(identity, documents, dry_run=dry_run, key=key)

    _ = export, import_
    return router


def _takes(shelf: Shelf[DefinitionT]) -> dict[str, Any]:
    """The body is read by ourselves, for it comes in two notations, and in YAML in several documents."""
    described = f"One {shelf.noun}, or a list of them; in YAML, several documents between lines of three hyphens."
    one = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    schema = {"description": described, "anyOf": [one, {"type": "array", "items": one}]}
    content = {media_type: {"schema": schema} for media_type in MEDIA_TYPES.values()}
    return {"requestBody": {"required": True, "content": content}}
