"""What is found in a definition: by others, or by looking at it alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.db.storable import storable

from crewmesh_agent_crew.records.mistakes import InvalidDefinition, Mistake
from crewmesh_agent_crew.records.models import Definition, DefinitionT
from crewmesh_agent_crew.records.shelf import Shelf

_CANNOT_BE_KEPT = "this holds a NUL character, half of a surrogate pair, or a number that is none"


@dataclass(frozen=True, slots=True)
class Findings:
    """``mistakes`` stand in the way of saving; ``hints`` do not."""

    mistakes: Sequence[Mistake] = ()
    hints: Sequence[Mistake] = ()

    def raised(self) -> Sequence[Mistake]:
        """The hints, if they are all there is to say."""
        if self.mistakes:
            raise InvalidDefinition(self.mistakes)
        return self.hints


def in_itself(shelf: Shelf[DefinitionT], definition: DefinitionT) -> Iterator[Mistake]:
    yield from _reserved(shelf.reserved, definition)
    yield from _unstorable(definition.model_dump(mode="json"), "")


def _reserved(reserved: Sequence[str], definition: Definition) -> Iterator[Mistake]:
    if definition.name in reserved:
        yield Mistake("name", f"{definition.name!r} means something else where names stand; choose another")


def _unstorable(value: JsonValue, path: str) -> Iterator[Mistake]:
    """By place, for some fields may hold any JSON."""
    if storable(value):
        return
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [mistake for name, each in below if storable(str(name)) for mistake in _unstorable(each, f"{path}.{name}")]
    yield from inner or [Mistake(path.removeprefix("."), _CANNOT_BE_KEPT)]
