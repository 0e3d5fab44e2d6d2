"""HTTP of knowledge bases."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import Slug
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfNoneMatch, answer_unchanged, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter, Response

from crewmesh_knowledge.access import SEE
from crewmesh_knowledge.bases.schemas import KnowledgeBase, NewKnowledgeBase
from crewmesh_knowledge.bases.service import Bases

router = APIRouter(prefix="/v1/knowledge-bases", tags=["knowledge"])

Reader = Annotated[Identity, reaching(SEE)]
Maker = Annotated[Identity, requires("knowledge:write")]
TheBases = Annotated[Bases, provided(Bases)]


@router.post("", status_code=201)
async def create_knowledge_base(
    new: NewKnowledgeBase, identity: Maker, bases: TheBases, response: Response, key: IdempotencyKey = None
) -> KnowledgeBase:
    """Create a knowledge base."""
    created = await bases.create(identity, new, key=key)
    response.headers["ETag"] = etag_of(created.id)
    response.headers["Location"] = f"/v1/knowledge-bases/{created.name}"
    return created


@router.get("")
async def list_knowledge_bases(identity: Reader, bases: TheBases, page: PageQuery) -> Page[KnowledgeBase]:
    """List the organization's knowledge bases by name."""
    return await bases.page(identity, page)


@router.get("/{name}", responses=UNCHANGED)
async def get_knowledge_base(
    name: Slug, identity: Reader, bases: TheBases, response: Response, if_none_match: IfNoneMatch = None
) -> KnowledgeBase:
    """Get a knowledge base by its name."""
    base = await bases.get(identity, name)
    answer_unchanged(if_none_match, base.id, response)
    return base
