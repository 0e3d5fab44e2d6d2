"""Knowledge bases as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.ids import Slug
from pydantic import Field

from crewmesh_knowledge.texts import StorableText


class NewKnowledgeBase(Contract):
    name: Annotated[Slug, Field(description="How it is referred to; unique in the organization.")]
    description: Annotated[StorableText, Field(max_length=2_000)] = ""


class KnowledgeBase(Reply):
    id: str
    name: str
    description: str
    created_at: datetime
