"""What is wrong in a definition, all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from crewmesh_workflow.expressions import ExpressionError

ValueT = TypeVar("ValueT")


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
    """Collects them; the same one is kept once.

    ``stored``: the definition was saved before. What can only be known to fail is let be then: its runs go on as far as
    they come, also where a rule is newer than the definition.
    """

    def __init__(self, *, stored: bool = False) -> None:
        self.stored = stored
        self._found: dict[Mistake, None] = {}

    def judge(self, path: str, judged: ValueT, judge: Callable[[ValueT], object]) -> None:
        """What stands written there, and what raises ExpressionError where it can never work."""
        if self.stored:
            return
        try:
            judge(judged)
        except ExpressionError as error:
            self.add(path, str(error))

    def add(self, path: str, message: str) -> None:
        self._found[Mistake(path, message)] = None

    def refuse(self) -> None:
        if self._found:
            raise InvalidDefinitionError(self._found)
