"""JSON Schemas that the author of a workflow wrote, and checking what somebody else gives against them.

Neither the author nor who answers can keep the service busy or make it fetch something: patterns run on an engine that
is linear in the text, references lead nowhere but into the schema itself, never in a circle, and all that they unfold
to is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

import jsonschema_rs
from crewmesh_contracts.base import JsonObject, JsonValue

_MOST_MISTAKES = 50
_LONGEST_MESSAGE = 300
# Objects and lists of a schema, each counted as often as a reference leads to it.
_MOST_PARTS = 10_000


class SchemaError(ValueError):
    """Not a JSON Schema that can be checked with; the text says why."""


def check_schema(schema: JsonObject) -> None:
    """SchemaError when nothing can be checked with it."""
    _validator(schema)


def mistakes(schema: JsonObject, value: JsonValue, *, place: str = "data") -> list[tuple[str, str]]:
    """Every mistake with where it is; none when the value is as the schema says."""
    try:
        validator = _validator(schema)
    except SchemaError as error:
        return [(place, f"cannot be checked, for the form itself is wrong: {error}")]
    return [
        (place + "".join(_steps(error.instance_path)), _shortened(error.message))
        for error, _ in zip(validator.iter_errors(value), range(_MOST_MISTAKES), strict=False)
    ]


def with_defaults(schema: JsonValue, value: JsonValue) -> JsonValue:
    """The value with the ``default`` of every member that was left out, also in the objects that it holds."""
    members = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(members, dict) or not isinstance(value, dict):
        return value
    filled: JsonObject = {**value}
    for name, member in members.items():
        if name in value:
            filled[name] = with_defaults(member, value[name])
        elif isinstance(member, dict) and "default" in member:
            filled[name] = member["default"]
    return filled


def _validator(schema: JsonObject) -> jsonschema_rs.Validator:
    _Unfolding(schema).count(schema, ())
    try:
        return jsonschema_rs.validator_for(
            schema, pattern_options=jsonschema_rs.RegexOptions(), validate_formats=True, retriever=_nothing_else
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError(_first_line(error)) from error


class _Unfolding:
    """Counts what a schema unfolds to. Doubled references double the work of every check, level by level."""

    def __init__(self, schema: JsonObject) -> None:
        self._schema = schema
        self._counted: dict[str, int] = {}

    def count(self, part: JsonValue, on_the_way: tuple[str, ...]) -> int:
        members = part if isinstance(part, list) else part.values() if isinstance(part, dict) else None
        if members is None:
            return 0
        total = 1 + sum(self.count(member, on_the_way) for member in members)
        reference = part.get("$ref") if isinstance(part, dict) else None
        if isinstance(reference, str):
            total += self._count_target(reference, on_the_way)
        if total > _MOST_PARTS:
            raise SchemaError(f"its references unfold to more than {_MOST_PARTS} parts; make it smaller")
        return total

    def _count_target(self, reference: str, on_the_way: tuple[str, ...]) -> int:
        if reference in on_the_way:
            raise SchemaError(f"the reference {reference[:100]} leads in a circle")
        if reference not in self._counted:
            self._counted[reference] = self.count(self._target(reference), (*on_the_way, reference))
        return self._counted[reference]

    def _target(self, reference: str) -> JsonValue:
        if reference != "#" and not reference.startswith("#/"):
            raise SchemaError(f"a schema refers to its own parts only, as #/$defs/name, and not to {reference[:100]}")
        found: JsonValue = self._schema
        for segment in reference.split("/")[1:]:
            name = segment.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise SchemaError(f"the reference {reference[:100]} leads nowhere")
            found = found[name]
        return found


def _nothing_else(uri: str) -> JsonValue:
    raise ValueError(f"a schema refers to nothing outside of itself, and {uri} is outside")


def _steps(path: list[str | int]) -> Iterator[str]:
    for part in path:
        yield f"[{part}]" if isinstance(part, int) else f".{part}"


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"


def _first_line(error: Exception) -> str:
    return _shortened(str(error).splitlines()[0] if str(error) else type(error).__name__)
