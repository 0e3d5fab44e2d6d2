"""What is different between two definitions, field by field. Parts that have names are the same by their names."""

from __future__ import annotations

from collections.abc import Iterator

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_agent_crew.records.schemas import Change, Diff

_NAMES = ("name", "use")


def diff(before: JsonObject, after: JsonObject) -> Diff:
    changes = tuple(_changes("", before, after))
    return Diff(same=not changes, changes=changes)


def _changes(path: str, before: JsonValue, after: JsonValue) -> Iterator[Change]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _members(path, before, after)
        return
    one, other = _by_name(before), _by_name(after)
    if one is None or other is None:
        yield Change(path=path, before=before, after=after)
        return
    yield from _members(path, one, other)
    if [name for name in one if name in other] != [name for name in other if name in one]:
        yield Change(path=path, before=[*one], after=[*other])


def _members(path: str, before: JsonObject, after: JsonObject) -> Iterator[Change]:
    for name in {**before, **after}:
        yield from _changes(f"{path}.{name}" if path else name, before.get(name), after.get(name))


def _by_name(items: JsonValue) -> JsonObject | None:
    """By name, in their order; nothing where not every item has a name of its own."""
    if not isinstance(items, list):
        return None
    named: JsonObject = {}
    for item in items:
        name = next((item[key] for key in _NAMES if key in item), None) if isinstance(item, dict) else None
        if not isinstance(name, str) or name in named:
            return None
        named[name] = item
    return named
