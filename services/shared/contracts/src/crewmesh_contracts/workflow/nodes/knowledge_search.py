"""Ask a knowledge base."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.ids import Slug
from crewmesh_contracts.workflow.nodes.base import EffectNode, Template


class KnowledgeSearchNode(EffectNode):
    """Output: ``hits`` (list with title, text, score) and ``text``, the hits joined for a prompt."""

    kind: Literal["knowledge.search"]
    knowledge_base: Slug
    query: Template
    limit: Annotated[int, Field(ge=1, le=50)] = 4
