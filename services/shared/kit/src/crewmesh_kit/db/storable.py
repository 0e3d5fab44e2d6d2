"""What PostgreSQL cannot hold as JSON: U+0000 and lone surrogates in texts, NaN and infinities.

What is cleaned shows U+FFFD in their place, so that nobody takes it for the whole.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn, cast

from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic_core import PydanticSerializationError, to_json

_UNFIT = re.compile("[\x00\ud800-\udfff]")
# Whoever writes it out again, within something else, gives up at 255.
_DEEPEST_READ = 200
# Of JSON that somebody sends. It comes to lie within other JSON, which readers refuse from 200 on.
DEEPEST_SENT = 100


def clean(value: JsonObject, *, deepest: int | None = None) -> JsonObject:
    """The same JSON without what jsonb refuses, and without what lies deeper than ``deepest``."""
    if deepest is None and storable(value):
        return value
    return cast(JsonObject, _cleaned(value, deepest))


def clean_text(text: str) -> str:
    return _UNFIT.sub("\ufffd", text)


def read_clean(text: str) -> JsonValue:
    """The JSON that strangers wrote, cleaned. ValueError: it is none, or holds a number beyond all measure."""
    with suppress(RecursionError):
        value = _cleaned(cast(JsonValue, json.loads(text, parse_float=_number, parse_constant=_no_number)))
        if _cleaned(value, _DEEPEST_READ) == value:
            return value
    raise ValueError("it is nested too deeply")


def storable(value: JsonValue) -> bool:
    """Whether jsonb takes the value as it is."""
    try:
        data = to_json(value, inf_nan_mode="constants")
    except PydanticSerializationError:
        return False
    return not any(refused in data for refused in (b"\\u0000", b"NaN", b"Infinity")) or _storable(value)


def deeper_than(value: JsonValue, most: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def refused_places(value: JsonValue, place: str) -> Iterator[tuple[str, str]]:
    """Why ``value``, which somebody sends, is not kept, and where. Nothing: it is."""
    if deeper_than(value, DEEPEST_SENT):
        yield place, f"this is nested more than {DEEPEST_SENT} deep; make it flatter"
    elif not storable(value):
        yield from unfit_places(value, place)


def unfit_places(value: JsonValue, place: str) -> Iterator[tuple[str, str]]:
    """Where ``value`` holds what cannot be kept, and what it is: for whoever sent it."""
    if isinstance(value, str) and _UNFIT.search(value):
        yield place, "this holds the character NUL or half of a character, which cannot be stored; remove it"
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, "this is no number, or one that is too large for JSON"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from unfit_places(item, f"{place}[{number}]")
    elif isinstance(value, dict):
        for name, member in value.items():
            inside = f"{place}.{clean_text(name)}"
            if _UNFIT.search(name):
                yield inside, "this name holds the character NUL or half of a character; choose another one"
            yield from unfit_places(member, inside)


def _storable(value: JsonValue) -> bool:
    """The slow and exact answer, for the rare value in which something suspicious was found."""
    return _cleaned(value) == value


def _cleaned(value: JsonValue, deepest: int | None = None) -> JsonValue:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, list | dict):
        return value
    if deepest == 0:
        return None
    below = None if deepest is None else deepest - 1
    if isinstance(value, list):
        return [_cleaned(item, below) for item in value]
    return {clean_text(name): _cleaned(member, below) for name, member in value.items()}


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is no number that can be kept")
