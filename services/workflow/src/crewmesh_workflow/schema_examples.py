"""A value that follows a JSON Schema, made up from what the schema says: what a test run goes on with.

It satisfies the common keywords. What cannot be made up, such as a text for a pattern, is noticed: the value is checked
with the schema before anybody gets it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_workflow.json_schemas import mistakes

_DEEPEST = 8
_MOST_ITEMS = 100
_LONGEST_TEXT = 10_000
_TEXT = "sample"
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:00:00Z",
    "time": "09:00:00Z",
    "duration": "P1D",
    "email": "sample@example.com",
    "idn-email": "sample@example.com",
    "uri": "https://example.com/sample",
    "iri": "https://example.com/sample",
    "uri-reference": "https://example.com/sample",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
# Where the type is not said, these tell it.
_TELLING = {
    "object": ("properties", "required", "minProperties", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


class NoExampleError(ValueError):
    """Nothing that follows the schema could be made up; the text says what stands in the way."""


def checked_example(schema: JsonObject) -> JsonValue:
    """A value that follows the schema. Raises NoExampleError."""
    why = ""
    for maker in _makers(schema):
        made = maker.make(schema)
        found = mistakes(schema, made, place="it")
        if not found:
            return made
        why = why or f"{found[0][0]}: {found[0][1]}"
    raise NoExampleError(why)


def example(schema: JsonObject) -> JsonValue:
    """The same without a check, for schemas that refer to themselves."""
    return _Maker(schema).make(schema)


def _makers(schema: JsonObject) -> Iterator[_Maker]:
    """One of several ways may lead nowhere: what is optional is left out then, and another choice is taken."""
    for choice in range(4):
        yield _Maker(schema, choice)
        yield _Maker(schema, choice, only_required=True)


@dataclass(frozen=True, slots=True)
class _Maker:
    """``choice``: which of the options of anyOf and oneOf is taken, where there are as many."""

    whole: JsonObject
    choice: int = 0
    only_required: bool = False

    def make(self, schema: JsonValue, nth: int = 0, depth: int = 0) -> JsonValue:
        """``nth``: which one of several that must differ."""
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return None
        part = self._flat(schema, depth)
        named = _named(part)
        return named[nth % len(named)] if named else self._of_type(part, nth, depth)

    def _of_type(self, part: JsonObject, nth: int, depth: int) -> JsonValue:
        match _type_of(part):
            case "object":
                return self._object(part, depth)
            case "array":
                return self._array(part, depth)
            case "string":
                return _text(part, nth)
            case "integer" | "number" as kind:
                return _number(part, nth, whole=kind == "integer")
            case "boolean":
                return nth % 2 == 0
            case _:
                return None

    def _flat(self, schema: JsonObject, depth: int) -> JsonObject:
        """With what it refers to, all of ``allOf``, and one option of each choice."""
        if depth > _DEEPEST:
            return {}
        flat: JsonObject = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
        reference, parts = schema.get("$ref"), schema.get("allOf")
        others: list[JsonValue] = [self._target(reference)] if isinstance(reference, str) else []
        others += parts if isinstance(parts, list) else []
        for name in ("anyOf", "oneOf"):
            options = flat.pop(name, None)
            if isinstance(options, list) and options:
                others.append(options[min(self.choice, len(options) - 1)])
        for other in others:
            if isinstance(other, dict):
                flat = _both(flat, self._flat(other, depth + 1))
        return flat

    def _target(self, reference: str) -> JsonValue:
        found: JsonValue = self.whole
        for segment in reference.split("/")[1:]:
            found = found.get(segment.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found

    def _object(self, part: JsonObject, depth: int) -> JsonObject:
        properties, required = _object_at(part, "properties"), part.get("required")
        needed = [str(name) for name in required] if isinstance(required, list) else []
        rest = part.get("additionalProperties")
        names = [*dict.fromkeys([*(needed if self.only_required else properties), *needed])]
        least = int(_limit(part, "minProperties") or 0)
        names += [name for name in properties if name not in names][: max(least - len(names), 0)]
        names += [f"{_TEXT}{number}" for number in range(min(least, _MOST_ITEMS) - len(names))]
        of_others: JsonObject = rest if isinstance(rest, dict) else {"type": "string"}
        return {name: self.make(properties.get(name, of_others), depth=depth + 1) for name in names}

    def _array(self, part: JsonObject, depth: int) -> list[JsonValue]:
        first, items = part.get("prefixItems"), part.get("items")
        begin = first if isinstance(first, list) else []
        least = max(int(_limit(part, "minItems") or 0), min(len(begin), 1), 1 if isinstance(items, dict) else 0)
        most = _limit(part, "maxItems")
        count = min(least if most is None else min(least, int(most)), _MOST_ITEMS)
        if depth >= _DEEPEST:
            count = 0
        of_others: JsonValue = items if isinstance(items, dict) else {"type": "string"}
        kinds = [*begin, *[of_others] * count][:count]
        return [self.make(kind, nth=number, depth=depth + 1) for number, kind in enumerate(kinds)]


def _named(part: JsonObject) -> list[JsonValue]:
    """The values that the schema itself names."""
    if "const" in part:
        return [part["const"]]
    default = [part["default"]] if "default" in part else []
    return _list_at(part, "enum") or [*default, *_list_at(part, "examples")]


def _type_of(part: JsonObject) -> str | None:
    said = part.get("type")
    if isinstance(said, list):
        said = next((kind for kind in said if kind != "null"), None)
    if isinstance(said, str):
        return said
    return next((kind for kind, keywords in _TELLING.items() if any(word in part for word in keywords)), None)


def _text(part: JsonObject, nth: int) -> str:
    made = _FORMATS.get(str(part.get("format")))
    if made is not None:
        return made
    made = _TEXT if nth == 0 else f"{_TEXT}{nth}"
    least, most = _limit(part, "minLength"), _limit(part, "maxLength")
    if least is not None and len(made) < least:
        made = (made * math.ceil(min(least, _LONGEST_TEXT) / len(made)))[: int(least)]
    return made if most is None else made[: int(most)]


def _number(part: JsonObject, nth: int, *, whole: bool) -> JsonValue:
    low, high = _limit(part, "minimum"), _limit(part, "maximum")
    above, below = _limit(part, "exclusiveMinimum"), _limit(part, "exclusiveMaximum")
    multiple = _limit(part, "multipleOf")
    step = multiple or 1.0
    least = max((limit for limit in (low, above) if limit is not None), default=None)
    most = min((limit for limit in (high, below) if limit is not None), default=None)
    made = step
    if least is not None and (made < least or made == above):
        made = math.ceil(least / step) * step
        made = made + step if made == above else made
    if most is not None and (made > most or made == below):
        made = math.floor(most / step) * step
        made = made - step if made == below else made
    if not whole and multiple is None and least is not None and most is not None and not least <= made <= most:
        made = (least + most) / 2
    made += nth * step
    return int(made) if whole or (multiple is not None and made == int(made)) else made


def _limit(part: JsonObject, keyword: str) -> float | None:
    value = part.get(keyword)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _object_at(part: JsonObject, keyword: str) -> JsonObject:
    value = part.get(keyword)
    return value if isinstance(value, dict) else {}


def _both(one: JsonObject, other: JsonObject) -> JsonObject:
    """What follows both: their members together, the narrower of two limits, else what the second says."""
    both: JsonObject = {**one, **other}
    properties = {**_object_at(one, "properties")}
    for name, value in _object_at(other, "properties").items():
        before = properties.get(name)
        properties[name] = {"allOf": [before, value]} if before is not None else value
    if properties:
        both["properties"] = properties
    needed = [*_list_at(one, "required"), *_list_at(other, "required")]
    if needed:
        both["required"] = needed
    for keywords, narrower in ((_LEAST, max), (_MOST, min)):
        for keyword in keywords:
            limits = [limit for limit in (_limit(one, keyword), _limit(other, keyword)) if limit is not None]
            if len(limits) > 1:
                both[keyword] = narrower(limits)
    return both


def _list_at(part: JsonObject, keyword: str) -> list[JsonValue]:
    value = part.get(keyword)
    return value if isinstance(value, list) else []
