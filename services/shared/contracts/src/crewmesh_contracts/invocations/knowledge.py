"""Asking the knowledge service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.base import Invocation


class SearchRequest(Contract):
    knowledge_base: Slug
    query: Annotated[str, Field(min_length=1, max_length=4_000)]
    limit: Annotated[int, Field(ge=1, le=50)] = 4


class SearchHit(Reply):
    document: str
    title: str
    position: int
    text: str
    score: float


class SearchResult(Reply):
    hits: tuple[SearchHit, ...]


SEARCH = Invocation(
    app="knowledge",
    path="/internal/search",
    permission="knowledge:read",
    request=SearchRequest,
    result=SearchResult,
    callers=("workflow", "agent-crew"),
    effect=False,
)
