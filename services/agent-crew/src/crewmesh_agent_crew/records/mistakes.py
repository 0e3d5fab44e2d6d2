"""What is wrong with a definition, each with its place: ``agents.1.preset``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.errors import Conflict, ValidationFailed
from pydantic import BaseModel, ValidationError

ModelT = TypeVar("ModelT", bound=BaseModel)

MOST_TOLD = 200
# How pydantic names the branch of a union that was meant; it is no part of the document.
_BRANCHES = ("inline", "reference", "http", "knowledge", "code", "action", "mcp")


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    path: str
    message: str


class InvalidDefinition(ValidationFailed):
    """The definition can be read but not be used: ``errors`` names each place and what to do there."""

    slug, title = "invalid-definition", "Invalid definition"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        count = "one place" if len(mistakes) == 1 else f"{len(mistakes)} places"
        super().__init__(
            f"The definition cannot be used: correct the {count} listed in errors and send it again. "
            + in_short(mistakes),
            errors=told(mistakes),
        )


class OutdatedDefinition(Conflict):
    """What is to work was saved by the rules of its time, and those of today refuse it: save it anew, corrected."""

    slug, title = "outdated-definition", "Outdated definition"

    def __init__(self, called: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__(
            f"The {called} was saved by earlier rules, and those of today refuse it: {in_short(mistakes)}. "
            "Save it anew, with that corrected.",
            errors=told(mistakes),
        )


def read_kept(model: type[ModelT], definition: object, called: str) -> ModelT:
    """The definition of what is to work, as it was kept."""
    try:
        return model.model_validate(definition)
    except ValidationError as error:
        raise OutdatedDefinition(called, [*mistakes_of(error)]) from error


def told(mistakes: Iterable[Mistake], **where: JsonValue) -> list[JsonValue]:
    listed = [{**where, "path": mistake.path, "message": mistake.message} for mistake in mistakes]
    return [*listed[:MOST_TOLD]]


def mistakes_of(error: ValidationError, *, below: str = "") -> Iterator[Mistake]:
    """Those that pydantic found, each told once and at its place in the document."""
    found = error.errors(include_url=False, include_input=False)
    places = [one["loc"] for one in found]
    for one in found:
        place = one["loc"]
        # Where items are wrong, pydantic counts them as missing besides.
        if one["type"] == "too_short" and any(other[: len(place)] == place != other for other in places):
            continue
        path = [str(part) for index, part in enumerate(place) if not (index and part in _BRANCHES)]
        yield Mistake(".".join([*([below] if below else []), *path]), one["msg"].removeprefix("Value error, "))


def in_short(mistakes: Sequence[Mistake]) -> str:
    return "; ".join(f"{mistake.path}: {mistake.message}" for mistake in mistakes[:3])
