"""Reading the handbook that is part of the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from crewmesh_knowledge.bases.schemas import NewKnowledgeBase
from crewmesh_knowledge.documents.schemas import NewDocument

HANDBOOK = NewKnowledgeBase(name="handbook", description="What Crewmesh is and how it works.")


@cache
def handbook_documents() -> tuple[NewDocument, ...]:
    """Every document of the handbook, by file name."""
    folder = files("crewmesh_knowledge.seed.handbook")
    pages = sorted((page for page in folder.iterdir() if page.name.endswith(".md")), key=lambda page: page.name)
    return tuple(_document(page.read_text(encoding="utf-8")) for page in pages)


def _document(markdown: str) -> NewDocument:
    heading, _, text = markdown.partition("\n")
    return NewDocument(title=heading.removeprefix("# ").strip(), text=text.strip())
