"""What the handlers of workflows have in common: who may, which one, and a definition as it comes over the wire."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.ids import Slug
from crewmesh_kit.documents.reading import MEDIA_TYPES, notation_of_media_type
from crewmesh_kit.errors import PayloadTooLarge
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import Depends, Path, Request

from crewmesh_workflow.access import CHANGE, SEE
from crewmesh_workflow.definitions.documents import LARGEST_BYTES, read_document

# Of one workflow, or of those that one may see.
Reader = Annotated[Identity, reaching(SEE)]
Writer = Annotated[Identity, reaching(CHANGE)]
# Of new ones.
Maker = Annotated[Identity, requires("workflows:write")]
WorkflowRef = Annotated[Slug, Path(description="Its id, or its slug.")]
_BY_REFERENCE = {"schema": {"$ref": "#/components/schemas/Definition"}}
# The body is read by ourselves, for it comes in two notations.
TAKES_DEFINITION: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES.values(), _BY_REFERENCE)}
}
_ANY_OBJECT = {"schema": {"type": "object", "description": "A definition, or what is to become one."}}
TAKES_DRAFT: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES.values(), _ANY_OBJECT)}
}


async def _document(request: Request) -> JsonObject:
    notation = notation_of_media_type(request.headers.get("content-type", ""))
    body = await request.body()
    if len(body) > LARGEST_BYTES:
        raise PayloadTooLarge(
            f"A definition may have {LARGEST_BYTES // 1024} KiB. Move parts of it into sub-workflows."
        )
    return await asyncio.to_thread(read_document, body, notation)


Document = Annotated[JsonObject, Depends(_document)]
