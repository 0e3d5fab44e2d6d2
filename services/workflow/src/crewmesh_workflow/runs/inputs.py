"""Whether the input of a start is what the workflow takes."""

from __future__ import annotations

from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.db.storable import storable

from crewmesh_workflow.json_schemas import mistakes
from crewmesh_workflow.runs.errors import InvalidInput


def schema_in(definition: JsonObject) -> JsonValue:
    """What a definition as JSON says about inputs."""
    settings = definition.get("settings")
    return settings.get("input_schema") if isinstance(settings, dict) else None


def check_input(schema: JsonValue, input_: JsonValue) -> None:
    """InvalidInput with every mistake. ``schema``: of the version that is to be started."""
    check_storable(input_)
    if isinstance(schema, dict):
        found = mistakes(schema, input_, place="input")
        if found:
            raise InvalidInput([{"path": path, "message": message} for path, message in found])


def check_storable(*values: object) -> None:
    """What comes from outside and is kept: without texts and numbers that PostgreSQL cannot hold."""
    if not all(storable(cast(JsonValue, value)) for value in values):
        raise InvalidInput([{"path": "", "message": "there is a text with a NUL character or half a pair, or NaN"}])
