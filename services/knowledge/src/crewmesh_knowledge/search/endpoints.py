"""HTTP of search: for services by the contract, for callers with the base in the path."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations import SEARCH, SearchRequest, SearchResult
from crewmesh_kit.app import provided
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter

from crewmesh_knowledge.access import SEE
from crewmesh_knowledge.search.schemas import Question
from crewmesh_knowledge.search.service import Search

router = APIRouter(tags=["knowledge"])

Reader = Annotated[Identity, reaching(SEE)]
TheSearch = Annotated[Search, provided(Search)]


@router.post(SEARCH.path)
async def search_for_a_service(request: SearchRequest, identity: Reader, search: TheSearch) -> SearchResult:
    return await search.search(identity, request)


@router.post("/v1/knowledge-bases/{name}/search")
async def search_knowledge_base(name: Slug, question: Question, identity: Reader, search: TheSearch) -> SearchResult:
    """Find the passages of a knowledge base that answer a question."""
    request = SearchRequest(knowledge_base=name, query=question.query, limit=question.limit)
    return await search.search(identity, request)
