"""A JSON Schema that a stranger wrote, as a model may be shown it.

A model reads all of it, names and values as well as descriptions: so only keywords that are known are shown, and of
texts those that give no orders. What is left out can still be needed: arguments are checked by the schema as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_agent_crew.guardrails.injection import suspicion
from crewmesh_agent_crew.guardrails.texts import cut, readable

_LONGEST_WORDS, _LONGEST_NAME, _LONGEST_VALUE = 200, 64, 100
_DEEPEST = 12
_MOST_VALUES = 200
_TYPES = ("null", "boolean", "object", "array", "number", "integer", "string")
# Where one word of a name ends and the next begins: fetch_all, fetch-all, fetchAll.
_JOINTS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")

# What is shown of what stands behind a keyword, at so many levels from the top; none: nothing.
_Shown: TypeAlias = Callable[[JsonValue, int], JsonValue]


def screened(words: str, *, most: int = _LONGEST_WORDS) -> str:
    """Empty when they give orders to their reader."""
    text = readable(words)
    return "" if suspicion(text).suspicious else cut(" ".join(text.split()), most)


def shown_schema(schema: JsonValue, depth: int = 0) -> JsonValue:
    if depth > _DEEPEST or not isinstance(schema, dict):
        return schema if isinstance(schema, bool) else {}
    found = {word: _KEYWORDS[word](part, depth) for word, part in schema.items() if word in _KEYWORDS}
    return {word: part for word, part in found.items() if part is not None}


def _plain(text: JsonValue, most: int) -> bool:
    """Whether it can be shown to the letter."""
    if not isinstance(text, str) or len(text) > most or readable(text) != text or "\n" in text:
        return False
    return not (suspicion(text).suspicious or suspicion(_JOINTS.sub(" ", text)).suspicious)


def _words(part: JsonValue, _: int) -> JsonValue:
    return (screened(part) or None) if isinstance(part, str) else None


def _number(part: JsonValue, _: int) -> JsonValue:
    return part if isinstance(part, bool | int | float) else None


def _value(part: JsonValue, _: int) -> JsonValue:
    return part if _plain(part, _LONGEST_VALUE) else _number(part, 0)


def _values(part: JsonValue, _: int) -> JsonValue:
    values = part[:_MOST_VALUES] if isinstance(part, list) else []
    return [each for each in values if each is None or _value(each, 0) is not None] or None


def _names(part: JsonValue, _: int) -> JsonValue:
    return [name for name in part if _plain(name, _LONGEST_NAME)] if isinstance(part, list) else None


def _types(part: JsonValue, _: int) -> JsonValue:
    named = part if isinstance(part, list) else [part]
    return part if all(each in _TYPES for each in named) else None


def _place(part: JsonValue, _: int) -> JsonValue:
    """Only in the same schema, where names are those that are shown."""
    return part if isinstance(part, str) and part.startswith("#") and _plain(part[1:], 2 * _LONGEST_NAME) else None


def _one(part: JsonValue, depth: int) -> JsonValue:
    return _several(part, depth) if isinstance(part, list) else shown_schema(part, depth + 1)


def _several(part: JsonValue, depth: int) -> JsonValue:
    return [shown_schema(each, depth + 1) for each in part] if isinstance(part, list) else None


def _named(part: JsonValue, depth: int) -> JsonValue:
    if not isinstance(part, dict):
        return None
    return {name: shown_schema(each, depth + 1) for name, each in part.items() if _plain(name, _LONGEST_NAME)}


def _of(shown: _Shown, words: str) -> dict[str, _Shown]:
    return dict.fromkeys(words.split(), shown)


_KEYWORDS: Mapping[str, _Shown] = MappingProxyType(
    {
        **_of(_words, "title description"),
        **_of(_value, "const format pattern"),
        **_of(_values, "enum"),
        **_of(_names, "required"),
        **_of(_types, "type"),
        **_of(_place, "$ref"),
        **_of(_number, "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength minItems"),
        **_of(_number, "maxItems uniqueItems minContains maxContains minProperties maxProperties deprecated"),
        **_of(_one, "items additionalItems additionalProperties contains propertyNames not if then else"),
        **_of(_several, "anyOf oneOf allOf prefixItems"),
        **_of(_named, "properties patternProperties $defs definitions"),
    }
)


def object_shown(schema: JsonObject) -> JsonObject:
    """The parameters of a tool."""
    shown = shown_schema(schema)
    return shown if isinstance(shown, dict) else {}
