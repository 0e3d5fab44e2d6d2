"""Models and aliases as they are shown."""

from __future__ import annotations

from crewmesh_agent_crew.catalogue.book import Book
from crewmesh_agent_crew.catalogue.repository import KeptAlias, KeptModel
from crewmesh_agent_crew.catalogue.schemas import Alias, Model, Source


def model_view(book: Book, name: str, kept: KeptModel | None) -> Model:
    entry = book.models[name]
    return Model(
        id=kept.id if kept else None,
        **entry.model_dump(exclude={"capabilities"}),
        usable=book.can_be_asked(entry),
        capabilities=tuple(sorted(entry.capabilities)),
        aliases=tuple(sorted(alias for alias in book.aliases if entry in book.chain(alias))),
        version=kept.version if kept else 0,
    )


def alias_view(book: Book, name: str, kept: KeptAlias | None) -> Alias:
    return Alias(
        id=kept.id if kept else None,
        name=name,
        models=book.aliases[name],
        asks=tuple(entry.name for entry in book.chain(name) if book.can_be_asked(entry)),
        source=_source(book, name, kept),
        version=kept.version if kept else 0,
    )


def _source(book: Book, name: str, kept: KeptAlias | None) -> Source:
    if kept is not None:
        return "organization"
    return "deployment" if book.is_of_the_deployment(name) else "built-in"
