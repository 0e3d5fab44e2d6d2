"""What expressions say of JSON values: what they are, how large, and whether two are the same."""

from __future__ import annotations

import json

from crewmesh_contracts.base import JsonValue
from pydantic_core import to_json

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.literals import whole

_KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def kind_of(value: JsonValue) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value), "null")


def as_text(value: JsonValue) -> str:
    """Texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else to_json(value).decode()


def size_of(value: JsonValue) -> int:
    """About how many bytes of JSON it is."""
    if isinstance(value, str):
        return len(value)
    return len(to_json(value)) if isinstance(value, (list, dict)) else 8


def same_key(value: JsonValue) -> str:
    """Equal for equal values: 1 and 1.0 are, 1 and true are not, and the order of an object's members is nothing."""
    if isinstance(value, str):
        return f'"{value}'
    if value is None or isinstance(value, bool):
        return repr(value)
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: JsonValue) -> JsonValue:
    if isinstance(value, float):
        return whole(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    return value


def one_of(value: JsonValue, *kinds: type) -> None:
    """Refuse values of other kinds."""
    if type(value) not in kinds:
        wanted = " or ".join(dict.fromkeys(_KINDS[kind] for kind in kinds))
        raise ExpressionError(f"needs {wanted}, not {kind_of(value)}")
