"""Whether an event is one that a trigger or a waiting step asked for. Pure; the rows come from ``repository``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent

from crewmesh_workflow.expressions import Condition, Scope
from crewmesh_workflow.expressions.values import as_text

_SEGMENT = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_MOST_TEXTS = 2_000
_SEES = "sees"


def seen(event: CloudEvent) -> JsonObject:
    """The event as filters and runs see it; ``data`` is always there."""
    members: JsonObject = event.model_dump(mode="json", exclude_none=True, exclude={"data"})
    return {**members, "data": event.data}


def admits(source: str | None, event: JsonObject, sees: Mapping[str, JsonValue] | None = None) -> bool:
    """Whether the filter is true. Raises ExpressionError when it has no value."""
    if source is None:
        return True
    roots = dict(sees or {})
    outputs = {step: cast(JsonObject, known)["output"] for step, known in _mapping(roots.pop("steps", None)).items()}
    return _compiled(source).evaluate(Scope({**roots, "event": event}, outputs))


def belongs(request: JsonObject, key: str | None, event: JsonObject) -> bool:
    """Whether the event is one that a step waits for, by the wait's request and key."""
    if request.get("source") not in (None, event["source"]):
        return False
    if key is not None and correlated(event, str(request.get("correlation"))) != key:
        return False
    condition = request.get("filter")
    return admits(condition if isinstance(condition, str) else None, event, _mapping(request.get(_SEES)))


def correlated(event: JsonObject, path: str) -> str | None:
    """What stands at the path, as text: keys are texts."""
    value: JsonValue = event
    for segment in segments(path):
        value = _member(value, segment)
    return None if value is None else as_text(value)


def _member(value: JsonValue, segment: str | int) -> JsonValue:
    if isinstance(value, dict) and isinstance(segment, str):
        return value.get(segment)
    if isinstance(value, list) and isinstance(segment, int) and segment < len(value):
        return value[segment]
    return None


def segments(path: str) -> list[str | int]:
    """``data.lines[0].id`` in parts."""
    return [int(match[2]) if match[2] else match[1] for match in _SEGMENT.finditer(path)]


def texts(event: JsonObject) -> list[str] | None:
    """Everything in the event that could be somebody's key; none when that is too much to list."""
    found: set[str] = set()
    for value in _values(event):
        found.add(as_text(value))
        if len(found) > _MOST_TEXTS:
            return None
    return sorted(found)


def _values(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _values(member)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item)
    elif value is not None:
        yield value


def _mapping(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


@lru_cache(maxsize=1_000)
def _compiled(source: str) -> Condition:
    return Condition.compile(source)
