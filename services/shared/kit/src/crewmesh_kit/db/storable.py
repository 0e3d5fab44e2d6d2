"""What PostgreSQL cannot hold as JSON: U+0000 and lone surrogates in texts, NaN and infinities."""

from __future__ import annotations

from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic_core import PydanticSerializationError, to_json


def clean(value: JsonObject) -> JsonObject:
    """The same JSON without what jsonb refuses."""
    return value if storable(value) else cast(JsonObject, _cleaned(value))


def clean_text(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def storable(value: JsonValue) -> bool:
    """Whether jsonb takes the value as it is."""
    try:
        data = to_json(value, inf_nan_mode="constants")
    except PydanticSerializationError:
        return False
    return not any(refused in data for refused in (b"\\u0000", b"NaN", b"Infinity")) or _storable(value)


def _storable(value: JsonValue) -> bool:
    """The slow and exact answer, for the rare value in which something suspicious was found."""
    return _cleaned(value) == value


def _cleaned(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {cast(str, _cleaned(name)): _cleaned(member) for name, member in value.items()}
    return value
