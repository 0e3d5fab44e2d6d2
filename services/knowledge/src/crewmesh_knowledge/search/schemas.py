"""What the public search takes; the base is in its path. Services use the contract instead."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract
from pydantic import Field

from crewmesh_knowledge.texts import FilledText


class Question(Contract):
    query: Annotated[FilledText, Field(max_length=4_000)]
    limit: Annotated[int, Field(ge=1, le=50)] = 4
