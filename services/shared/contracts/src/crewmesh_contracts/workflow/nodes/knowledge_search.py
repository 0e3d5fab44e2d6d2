"""Ask a knowledge base."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.knowledge import SearchHit
from crewmesh_contracts.workflow.nodes.base import EffectNode, Template


class SearchOutput(Reply):
    hits: tuple[SearchHit, ...]
    text: str


class KnowledgeSearchNode(EffectNode):
    """Output: ``hits`` (list with title, text, score) and ``text``, the hits joined for a prompt."""

    Output: ClassVar = SearchOutput

    kind: Literal["knowledge.search"]
    knowledge_base: Slug
    query: Template
    limit: Annotated[int, Field(ge=1, le=50)] = 4
