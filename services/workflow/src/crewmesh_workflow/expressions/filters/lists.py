"""Filters of lists and objects. ``key`` names a member of the items, where these are objects."""

from __future__ import annotations

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.filters.base import (
    MAX_BYTES,
    bounded,
    items,
    make_filter,
    number,
    text,
    whole_number,
)
from crewmesh_workflow.expressions.literals import whole
from crewmesh_workflow.expressions.values import as_text, kind_of, one_of, same_key

_MANY = MAX_BYTES


@make_filter(takes_null=True, catches=True, looks=True)
def default(value: JsonValue, instead: JsonValue) -> JsonValue:
    """Another value where there is nothing, null, or an empty text, list or object."""
    return instead if value is None or value == "" or value in ([], {}) else value


@make_filter(looks=True)
def length(value: JsonValue) -> JsonValue:
    """How many characters, items or members there are."""
    one_of(value, str, list, dict)
    return len(value) if isinstance(value, (str, list, dict)) else 0


@make_filter(looks=True)
def first(value: JsonValue) -> JsonValue:
    """The first item, or null."""
    return next(iter(items(value)), None)


@make_filter(looks=True)
def last(value: JsonValue) -> JsonValue:
    """The last item, or null."""
    return next(reversed(items(value)), None)


@make_filter(separator=text)
def join(value: JsonValue, separator: JsonValue = "") -> JsonValue:
    """The items as one text, with a separator between them."""
    shown, between = [as_text(item) for item in items(value)], text(separator)
    bounded(sum(map(len, shown)) + len(between) * len(shown))
    return between.join(shown)


@make_filter()
def keys(value: JsonValue) -> JsonValue:
    """The names of an object's members, in order of the alphabet."""
    one_of(value, dict)
    return [*sorted(value)] if isinstance(value, dict) else []


@make_filter()
def values(value: JsonValue) -> JsonValue:
    """The values of an object's members, in order of their names."""
    one_of(value, dict)
    return [value[name] for name in sorted(value)] if isinstance(value, dict) else []


def _place(value: JsonValue) -> int:
    return whole_number(value, -_MANY, _MANY)


def _name_or_place(value: JsonValue) -> str | int:
    return value if isinstance(value, str) else _place(value)


@make_filter(looks=True, key=_name_or_place)
def get(value: JsonValue, key: JsonValue) -> JsonValue:
    """The member of that name, or the item at that position (-1 is the last), or null."""
    if isinstance(value, dict):
        return value.get(text(key))
    place = _place(key)
    found = items(value)
    return found[place] if -len(found) <= place < len(found) else None


@make_filter(start=_place, end=_place)
def slice_(value: JsonValue, start: JsonValue, end: JsonValue = None) -> JsonValue:
    """A part of a text or list, from one position to before another; negative ones count from its end."""
    begin = _place(start)
    stop = None if end is None else _place(end)
    one_of(value, str, list)
    return value[begin:stop] if isinstance(value, (str, list)) else value


@make_filter()
def reverse(value: JsonValue) -> JsonValue:
    """The items or characters from the last to the first."""
    one_of(value, str, list)
    return value[::-1] if isinstance(value, (str, list)) else value


@make_filter(key=text)
def sort(value: JsonValue, key: JsonValue = None) -> JsonValue:
    """The items in order: all numbers or all texts, or objects with such a member."""
    found = items(value)
    ranks = _comparable(found, key)
    return [found[place] for place in sorted(range(len(found)), key=lambda place: ranks[place])]


@make_filter(looks=False, key=text)
def min_(value: JsonValue, key: JsonValue = None) -> JsonValue:
    """The smallest item, or null."""
    found, ranks = items(value), _comparable(items(value), key)
    return found[min(range(len(found)), key=lambda place: ranks[place])] if found else None


@make_filter(key=text)
def max_(value: JsonValue, key: JsonValue = None) -> JsonValue:
    """The largest item, or null."""
    found, ranks = items(value), _comparable(items(value), key)
    return found[max(range(len(found)), key=lambda place: ranks[place])] if found else None


@make_filter(key=text)
def sum_(value: JsonValue, key: JsonValue = None) -> JsonValue:
    """All numbers together; null counts nothing."""
    total: int | float = 0
    for item in items(value):
        found = _member(item, key)
        total += 0 if found is None else number(found)
    return whole(total)


@make_filter(key=text)
def unique(value: JsonValue, key: JsonValue = None) -> JsonValue:
    """The items without those that were there before."""
    kept: dict[str, JsonValue] = {}
    for item in items(value):
        kept.setdefault(same_key(_member(item, key)), item)
    return [*kept.values()]


@make_filter()
def flatten(value: JsonValue) -> JsonValue:
    """The items, and in place of lists among them their items."""
    return [inner for item in items(value) for inner in (item if isinstance(item, list) else [item])]


@make_filter(key=text)
def pluck(value: JsonValue, key: JsonValue) -> JsonValue:
    """One member of each item; null where it has none."""
    text(key)
    return [_member(item, key) for item in items(value)]


@make_filter(key=text)
def where(value: JsonValue, key: JsonValue, equals: JsonValue = True) -> JsonValue:
    """The items whose member equals a value; without one, whose member is true."""
    text(key)
    wanted = same_key(equals)
    return [item for item in items(value) if same_key(_member(item, key)) == wanted]


@make_filter()
def contains(value: JsonValue, what: JsonValue) -> JsonValue:
    """Whether a text has another in it, a list an item, or an object a member of that name."""
    one_of(value, str, list, dict)
    if isinstance(value, list):
        wanted = same_key(what)
        return any(same_key(item) == wanted for item in value)
    return text(what) in value if isinstance(value, (str, dict)) else False


def _member(item: JsonValue, key: JsonValue) -> JsonValue:
    if key is None:
        return item
    return item.get(text(key)) if isinstance(item, dict) else None


def _comparable(found: list[JsonValue], key: JsonValue) -> list[str] | list[int | float]:
    ranks = [_member(item, key) for item in found]
    texts = [rank for rank in ranks if isinstance(rank, str)]
    numbers = [rank for rank in ranks if isinstance(rank, (int, float)) and not isinstance(rank, bool)]
    if len(texts) == len(ranks):
        return texts
    if len(numbers) == len(ranks):
        return numbers
    kinds = ", ".join(sorted({kind_of(rank) for rank in ranks}))
    raise ExpressionError(f"needs all numbers or all texts to compare, not {kinds}")
