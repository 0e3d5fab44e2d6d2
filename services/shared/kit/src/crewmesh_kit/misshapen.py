"""What is wrong with the shape of a document, told in words of JSON instead of those of the library that found it.

A value that may be of several types gets an error for each of them; together they are one mistake. Places are those of
the document: the names that the library gives to the types it tried are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NotRequired, TypedDict, cast

from crewmesh_contracts.patterns import MEANINGS

Loc = tuple[str | int, ...]


class ShapeError(TypedDict):
    """The part of pydantic's error that is read here."""

    type: str
    loc: Sequence[str | int]
    msg: str
    ctx: NotRequired[dict[str, object]]
    input: NotRequired[object]


_OBJECT, _LIST, _TEXT, _MOMENT = "an object", "a list", "a text", "a moment, as in 2026-03-01T09:00:00+01:00"
_WHOLE, _NUMBER, _TRUTH = "a whole number", "a number", "true or false"

# Errors that say: this is something else altogether.
_OTHER_KIND: Mapping[str, str] = {
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type", "dataclass_type"), _OBJECT),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), _LIST),
    **dict.fromkeys(("string_type", "string_sub_type", "bytes_type"), _TEXT),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number", "decimal_type", "decimal_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _TRUTH),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), _MOMENT),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), "a date, as in 2026-03-01"),
    "timezone_aware": f"{_MOMENT} with its offset",
    "none_required": "null",
}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_SENTENCES: Mapping[str, Callable[[Mapping[str, object]], str]] = {
    "missing": lambda _: "this is missing; add it",
    "extra_forbidden": lambda _: "there is no such field here; remove it, or correct its name",
    "union_tag_not_found": lambda context: f"it does not say its {_tag(context)}; add {_tag(context)}",
    "union_tag_invalid": lambda context: (
        f"there is no {_tag(context)} {str(context.get('tag'))[:64]!r}; use one of {context.get('expected_tags')}"
    ),
    "too_short": lambda context: f"it needs at least {context.get('min_length')}",
    "too_long": lambda context: f"it may have at most {context.get('max_length')}",
    "string_too_short": lambda context: f"it should have at least {_characters(context.get('min_length'))}",
    "string_too_long": lambda context: f"it should have at most {_characters(context.get('max_length'))}",
    "string_unicode": lambda _: "this holds half of a character, which cannot be stored; remove it",
    "recursion_loop": lambda _: "this is nested too deep; make it flatter",
    "invalid_key": lambda _: "the name of a member should be a text",
}
_CHOICES = ("literal_error", "enum")
_KEY = "[key]"


def told(errors: Sequence[ShapeError], document: object) -> list[tuple[Loc, str]]:
    """One sentence for each place, in the order in which the errors were found."""
    found: dict[Loc, list[ShapeError]] = {}
    unions: dict[Loc, list[tuple[Loc, ShapeError]]] = {}
    for error in errors:
        if _follows_from_others(error):
            continue
        loc, union = _place(error, document)
        if union is not None:
            unions.setdefault(union, []).append((loc, error))
        found.setdefault(loc, []).append(error)
    for union, tried in unions.items():
        _keep_the_nearest(found, union, tried)
    return [(loc, _together(at)) for loc, at in found.items() if at]


def _keep_the_nearest(found: dict[Loc, list[ShapeError]], union: Loc, tried: list[tuple[Loc, ShapeError]]) -> None:
    """Where a value is of one of the types but wrong as such, the others say nothing."""
    others = [error for loc, error in tried if loc == union and error["type"] in (*_OTHER_KIND, *_CHOICES)]
    if len(others) < len(tried):
        found[union] = [error for error in found.get(union, ()) if error not in others]


def _follows_from_others(error: ShapeError) -> bool:
    """Items that are wrong are not counted, so that a list with enough of them is called too short as well."""
    given = error.get("input")
    least = error.get("ctx", {}).get("min_length", 0)
    if error["type"] != "too_short" or not isinstance(given, list) or not isinstance(least, int):
        return False
    return len(cast("list[object]", given)) >= least


def _place(error: ShapeError, document: object) -> tuple[Loc, Loc | None]:
    """Where it is in the document; and where the first of several types was tried, if so."""
    kept: list[str | int] = []
    union: Loc | None = None
    at: object = document
    steps = error["loc"]
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        if isinstance(step, str) and not _is_member(at, step) and not (last and error["type"] == "missing"):
            union = tuple(kept) if union is None and step != _KEY else union
            continue
        kept.append(step)
        at = _inside(at, step)
    return tuple(kept), union


def _is_member(value: object, name: str) -> bool:
    return isinstance(value, dict) and name in value


def _inside(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).get(step)
    if isinstance(value, list) and isinstance(step, int):
        items = cast("list[object]", value)
        return items[step] if step < len(items) else None
    return None


def _together(errors: Sequence[ShapeError]) -> str:
    wanted = list(dict.fromkeys(noun for error in errors for noun in _what(error)))
    others = list(dict.fromkeys(sentence(error) for error in errors if not _what(error)))
    if not wanted:
        return ", or ".join(others)
    name = "its name" if errors[0]["loc"][-1:] == (_KEY,) else "it"
    return ", or ".join((f"{name} should be {_or(wanted)}", *others))


def sentence(error: ShapeError) -> str:
    """What is to be done about one error."""
    wanted = _what(error)
    if wanted:
        return f"it should be {_or(wanted)}"
    context = error.get("ctx", {})
    limit = _LIMITS.get(error["type"])
    if limit is not None:
        words, name = limit
        bound = context.get(name)
        return f"it should be {words} {int(bound) if isinstance(bound, float) and bound.is_integer() else bound}"
    known = _SENTENCES.get(error["type"])
    if known is not None:
        return known(context)
    said = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return said.replace("Input should", "it should").replace("String should", "it should")


def _what(error: ShapeError) -> list[str]:
    """What the value should be instead."""
    context = error.get("ctx", {})
    if error["type"] in _CHOICES:
        return str(context.get("expected")).replace(" or ", ", ").split(", ")
    if error["type"] == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return [MEANINGS.get(pattern, f"a text of the form {pattern}")]
    noun = _OTHER_KIND.get(error["type"])
    return [] if noun is None else [noun]


def _or(nouns: Sequence[str]) -> str:
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} or {nouns[-1]}"


def _tag(context: Mapping[str, object]) -> str:
    name = str(context.get("discriminator", "kind")).strip("'")
    return "kind" if name.endswith("()") else name


def _characters(count: object) -> str:
    return f"{count} character" if count == 1 else f"{count} characters"
