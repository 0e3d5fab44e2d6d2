"""Documents as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.ids import HEX_ID
from pydantic import AfterValidator, Field, StringConstraints, computed_field

from crewmesh_knowledge.texts import FilledText

MOST_BYTES = 1_000_000

DocumentId: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^doc_{HEX_ID}$")]


def _not_too_large(text: str) -> str:
    if (size := len(text.encode())) > MOST_BYTES:
        raise ValueError(f"is {size} bytes of UTF-8; at most {MOST_BYTES} fit in a document, so split it into several")
    return text


class NewDocument(Contract):
    title: Annotated[FilledText, Field(max_length=300)]
    text: Annotated[
        FilledText,
        AfterValidator(_not_too_large),
        Field(description=f"Plain text or Markdown, at most {MOST_BYTES} bytes of UTF-8."),
    ]


class Document(Reply):
    """A document is found by its words at once, and by its meaning as soon as its chunks have their vectors."""

    id: str
    title: str
    characters: int
    chunks: int
    indexed_chunks: int
    created_at: datetime

    @computed_field
    @property
    def status(self) -> Literal["indexing", "ready"]:
        return "ready" if self.indexed_chunks == self.chunks else "indexing"
