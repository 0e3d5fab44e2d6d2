"""Definitions as files: several in one, read with every mistake in them, and written so short that people like to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.documents.reading import Notation, UnreadableDocument, read_documents
from crewmesh_kit.documents.yaml_text import write_yaml
from crewmesh_kit.errors import ValidationFailed
from pydantic import ValidationError

from crewmesh_agent_crew.records.mistakes import MOST_TOLD, Mistake, mistakes_of, told
from crewmesh_agent_crew.records.models import Definition, DefinitionT

MOST_DOCUMENTS = 100


@dataclass(frozen=True, slots=True)
class Read(Generic[DefinitionT]):
    """One document of several; they are counted from one."""

    number: int
    definition: DefinitionT


class InvalidDocuments(ValidationFailed):
    """Some documents cannot be imported, so none was: ``errors`` names document, path and what to do there."""

    slug, title = "invalid-documents", "Invalid documents"

    def __init__(self, mistakes: Sequence[tuple[int, Mistake]]) -> None:
        errors = [error for number, mistake in mistakes for error in told([mistake], document=number)]
        count = "one place" if len(errors) == 1 else f"{len(errors)} places"
        super().__init__(
            f"Nothing was imported: correct the {count} listed in errors and import again.", errors=errors[:MOST_TOLD]
        )


def read_definitions(content: bytes, notation: Notation, model: type[DefinitionT]) -> list[Read[DefinitionT]]:
    """Every document; UnreadableDocument or InvalidDocuments say what is wrong, all of it at once."""
    found: list[Read[DefinitionT]] = []
    mistakes: list[tuple[int, Mistake]] = []
    for number, document in enumerate(_each(read_documents(content, notation, most=MOST_DOCUMENTS)), start=1):
        try:
            found.append(Read(number, model.model_validate(document)))
        except ValidationError as error:
            mistakes += [(number, mistake) for mistake in mistakes_of(error)]
    mistakes += _named_twice(found)
    if mistakes:
        raise InvalidDocuments(mistakes)
    return found


def write_definition(definition: Definition, notation: Notation) -> str:
    """Without what is as it would be anyway, and by its name first."""
    brief: JsonObject = definition.model_dump(mode="json", exclude_defaults=True)
    if notation == "yaml":
        return write_yaml(brief)
    return json.dumps(brief, indent=2, ensure_ascii=False) + "\n"


def _each(values: list[JsonValue]) -> list[JsonValue]:
    """A list stands for the documents in it."""
    documents = [each for value in values for each in (value if isinstance(value, list) else [value])]
    if not documents:
        raise UnreadableDocument("there is nothing in it")
    if len(documents) > MOST_DOCUMENTS:
        raise UnreadableDocument(f"there are more than {MOST_DOCUMENTS} documents; send the rest by themselves")
    return documents


def _named_twice(found: Sequence[Read[DefinitionT]]) -> Iterator[tuple[int, Mistake]]:
    first: dict[str, int] = {}
    for read in found:
        name = read.definition.name
        if name in first:
            yield read.number, Mistake("name", f"document {first[name]} is called {name!r}, too; give it another name")
        first.setdefault(name, read.number)
