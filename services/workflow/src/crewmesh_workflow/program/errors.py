"""What is wrong in a definition, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in a definition: where it is, and a sentence that says what to do."""

    path: str
    message: str


class InvalidDefinitionError(ValueError):
    """All mistakes of a definition."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(f"{mistake.path}: {mistake.message}" for mistake in self.mistakes))


class Mistakes:
    """Collects them; the same one is kept once."""

    def __init__(self) -> None:
        self._found: dict[Mistake, None] = {}

    def add(self, path: str, message: str) -> None:
        self._found[Mistake(path, message)] = None

    def refuse(self) -> None:
        if self._found:
            raise InvalidDefinitionError(self._found)
