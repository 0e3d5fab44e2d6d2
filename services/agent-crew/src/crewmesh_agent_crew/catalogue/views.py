"""Models and aliases as they are shown."""

from __future__ import annotations

from crewmesh_agent_crew.catalogue.book import Book
from crewmesh_agent_crew.catalogue.schemas import Alias, Model, Source


def model_view(book: Book, name: str, *, version: int) -> Model:
    entry = book.models[name]
    return Model(
        **entry.model_dump(exclude={"capabilities"}),
        usable=book.can_be_asked(entry),
        capabilities=tuple(sorted(entry.capabilities)),
        aliases=tuple(sorted(alias for alias in book.aliases if entry in book.chain(alias))),
        version=version,
    )


def alias_view(book: Book, name: str, *, version: int) -> Alias:
    return Alias(
        name=name,
        models=book.aliases[name],
        asks=tuple(entry.name for entry in book.chain(name) if book.can_be_asked(entry)),
        source=_source(book, name, version),
        version=version,
    )


def _source(book: Book, name: str, version: int) -> Source:
    if version:
        return "organization"
    return "deployment" if book.is_of_the_deployment(name) else "built-in"
