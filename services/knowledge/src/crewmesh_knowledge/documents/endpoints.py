"""HTTP of documents."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import Slug
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfNoneMatch, answer_unchanged, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter, Response

from crewmesh_knowledge.access import CHANGE, SEE
from crewmesh_knowledge.documents.schemas import Document, DocumentId, NewDocument
from crewmesh_knowledge.documents.service import Documents

router = APIRouter(prefix="/v1/knowledge-bases/{name}/documents", tags=["knowledge"])

Reader = Annotated[Identity, reaching(SEE)]
Writer = Annotated[Identity, reaching(CHANGE)]
TheDocuments = Annotated[Documents, provided(Documents)]


@router.post("", status_code=201)
async def add_document(
    name: Slug,
    new: NewDocument,
    identity: Writer,
    documents: TheDocuments,
    response: Response,
    key: IdempotencyKey = None,
) -> Document:
    """Add a document. The same text is kept once per knowledge base; adding it again answers with what is there."""
    added = await documents.add(identity, name, new, key=key)
    response.headers["ETag"] = etag_of(_version(added))
    response.headers["Location"] = f"/v1/knowledge-bases/{name}/documents/{added.id}"
    return added


@router.get("")
async def list_documents(name: Slug, identity: Reader, documents: TheDocuments, page: PageQuery) -> Page[Document]:
    """List the documents of a knowledge base, oldest first."""
    return await documents.page(identity, name, page)


@router.get("/{document}", responses=UNCHANGED)
async def get_document(
    name: Slug,
    document: DocumentId,
    identity: Reader,
    documents: TheDocuments,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Document:
    """Get a document: how far its indexing has come, among others."""
    found = await documents.get(identity, name, document)
    answer_unchanged(if_none_match, _version(found), response)
    return found


@router.delete("/{document}", status_code=204)
async def delete_document(name: Slug, document: DocumentId, identity: Writer, documents: TheDocuments) -> None:
    """Delete a document and everything that was made of it."""
    await documents.delete(identity, name, document)


def _version(document: Document) -> str:
    """All that ever changes of a document is how much of it is indexed."""
    return f"{document.id}.{document.indexed_chunks}"
