"""Schemas of strangers: what can be checked with them, and what would keep the service busy."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_workflow.json_schemas import SchemaError, check_schema, mistakes

PERSON: JsonObject = {
    "type": "object",
    "properties": {"name": {"$ref": "#/$defs/name"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
    "$defs": {"name": {"type": "string", "minLength": 1}},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "Ada"}, []),
        ({}, ["data"]),
        ({"name": "", "tags": ["a", 1]}, ["data.name", "data.tags[1]"]),
    ],
)
def test_every_mistake_has_its_place(value: JsonValue, expected: list[str]) -> None:
    assert sorted(place for place, _ in mistakes(PERSON, value)) == expected


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"pattern": "("}, "regex"),
        ({"$ref": "https://elsewhere.test/schema"}, "own parts only"),
        ({"$ref": "#/$defs/nothing"}, "leads nowhere"),
        ({"$ref": "#"}, "circle"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "circle"),
    ],
)
def test_what_cannot_be_checked_with_is_refused(schema: JsonObject, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        check_schema(schema)
    assert "form itself is wrong" in mistakes(schema, {})[0][1]


def ref(level: int) -> JsonObject:
    return {"$ref": f"#/$defs/l{level}"}


def test_doubled_references_are_counted_and_not_followed() -> None:
    levels = 40
    defs: dict[str, JsonValue] = {f"l{n}": {"allOf": [ref(n + 1), ref(n + 1)]} for n in range(levels)}
    schema: JsonObject = {"$ref": "#/$defs/l0", "$defs": {**defs, f"l{levels}": {"type": "string"}}}
    with pytest.raises(SchemaError, match="unfold"):
        check_schema(schema)  # if it followed them it would not come back: they are 2^40
