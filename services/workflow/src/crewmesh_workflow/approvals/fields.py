"""A form for people out of a JSON Schema, and what they filled in back into JSON.

An object of plain members becomes one field for each; anything else is asked for as JSON text. What is typed is read
as leniently as it goes: a number that is none stays a text, so that the schema says what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from crewmesh_contracts.base import JsonObject, JsonValue

FieldKind = Literal["text", "long", "number", "integer", "boolean", "choice"]
_KINDS: Mapping[str, FieldKind] = {"string": "text", "number": "number", "integer": "integer", "boolean": "boolean"}
_MOST_FIELDS = 60
# Names of fields that the page itself uses cannot meet those of a form.
PREFIX = "form."
_LONG_TEXT = 200


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: FieldKind
    label: str
    hint: str | None
    required: bool
    default: JsonValue
    choices: tuple[JsonValue, ...] = ()

    @property
    def key(self) -> str:
        return PREFIX + self.name


def fields_of(form: JsonObject) -> tuple[Field, ...] | None:
    """One for each member; None when the form is more than an object of plain members."""
    members = form.get("properties")
    if form.get("type") != "object" or not isinstance(members, dict) or not 0 < len(members) <= _MOST_FIELDS:
        return None
    wanted = form.get("required")
    required = cast("list[JsonValue]", wanted) if isinstance(wanted, list) else []
    found = [_field(name, schema, required=name in required) for name, schema in members.items()]
    return None if None in found else tuple(field for field in found if field is not None)


def _field(name: str, schema: JsonValue, *, required: bool) -> Field | None:
    if not isinstance(schema, dict):
        return None
    kind, choices = _kind_of(schema)
    if kind is None:
        return None
    title, hint = schema.get("title"), schema.get("description")
    return Field(
        name=name,
        kind=kind,
        label=str(title) if title else name,
        hint=str(hint) if hint else None,
        required=required,
        default=schema.get("default"),
        choices=choices,
    )


def _kind_of(schema: JsonObject) -> tuple[FieldKind | None, tuple[JsonValue, ...]]:
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return "choice", tuple(choices)
    named = schema.get("type")
    kind = _KINDS.get(named) if isinstance(named, str) else None
    longest = schema.get("maxLength", 0)
    if kind == "text" and isinstance(longest, int) and longest > _LONG_TEXT:
        return "long", ()
    return kind, ()


def filled_in(fields: tuple[Field, ...], posted: Mapping[str, str]) -> JsonObject:
    """What was typed, as the form's members. What was left empty is left away."""
    answer: JsonObject = {}
    for field in fields:
        text = posted.get(field.key)
        if field.kind == "boolean":
            answer[field.name] = text is not None
        elif text:
            answer[field.name] = _value(field, text)
    return answer


def _value(field: Field, text: str) -> JsonValue:
    if field.kind == "choice":
        return _chosen(field.choices, text)
    if field.kind == "long":
        return text.replace("\r\n", "\n")
    if field.kind == "text":
        return text
    try:
        return int(text) if field.kind == "integer" else float(text)
    except ValueError:
        return text


def _chosen(choices: tuple[JsonValue, ...], text: str) -> JsonValue:
    """Choices are posted by their place, for they need not be texts."""
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < len(choices):
        return choices[int(text)]
    return text


def as_text(value: JsonValue) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def from_text(text: str) -> JsonValue:
    """ValueError when it is not JSON, or has no place in PostgreSQL's."""

    def refuse(constant: str) -> JsonValue:
        raise ValueError(f"{constant} is not JSON")

    return cast(JsonValue, json.loads(text, parse_constant=refuse))
