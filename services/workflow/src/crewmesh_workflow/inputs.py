"""Whether the input of a start is what the workflow takes: of one by API, and of one by a step of another workflow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.db.storable import refused_places
from crewmesh_kit.errors import ValidationFailed

from crewmesh_workflow.json_schemas import mistakes

_MOST_TOLD = 50


class InvalidInput(ValidationFailed):
    """The input does not follow the workflow's input_schema; ``errors`` lists every place and what is wrong there."""

    slug, title = "invalid-input", "Invalid input"

    def __init__(self, mistakes: Sequence[JsonObject], whose: str = "the workflow") -> None:
        super().__init__(
            f"The input is not what {whose} takes; correct each place named. Its settings.input_schema says all.",
            errors=list(mistakes),
        )


def schema_in(definition: JsonObject) -> JsonValue:
    """What a definition as JSON says about inputs."""
    settings = definition.get("settings")
    return settings.get("input_schema") if isinstance(settings, dict) else None


def check_input(schema: JsonValue, input_: JsonValue, *, whose: str = "the workflow", place: str = "input") -> None:
    """InvalidInput with every mistake. ``schema``: of the version that is to be started."""
    check_storable(**{place: input_})
    if isinstance(schema, dict):
        found = mistakes(schema, input_, place=place)
        if found:
            raise InvalidInput([{"path": path, "message": message} for path, message in found], whose)


def check_storable(**values: object) -> None:
    """What comes from outside and is kept, by its place: nothing that PostgreSQL cannot hold, or too deep."""
    given = cast("dict[str, JsonValue]", values)
    found = [each for place, value in given.items() for each in islice(refused_places(value, place), _MOST_TOLD)]
    if found:
        raise InvalidInput([{"path": path, "message": message} for path, message in found])
