"""Filters of texts. Blanks are those of ASCII; lengths and positions count characters (Unicode code points)."""

from __future__ import annotations

import re
import unicodedata

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.filters.base import (
    MAX_BYTES,
    MAX_PARTS,
    bounded,
    make_filter,
    parts,
    text,
    whole_number,
)

_BLANKS = " \t\r\n\f\v"
_WORD = re.compile(r"[^ \t\r\n\f\v]+")
_LINE_END = re.compile(r"\r\n|\r|\n")
_NOT_FOR_SLUGS = re.compile(r"[^a-z0-9]+")


@make_filter()
def upper(value: JsonValue) -> JsonValue:
    """The text in upper case."""
    return text(value).upper()


@make_filter()
def lower(value: JsonValue) -> JsonValue:
    """The text in lower case."""
    return text(value).lower()


@make_filter()
def title(value: JsonValue) -> JsonValue:
    """The text with the first letter of each word in upper case."""
    return _WORD.sub(lambda word: word[0][0].upper() + word[0][1:], text(value))


@make_filter()
def trim(value: JsonValue) -> JsonValue:
    """The text without blanks at its ends."""
    return text(value).strip(_BLANKS)


def _separator(value: JsonValue) -> str:
    if not text(value):
        raise ExpressionError("needs a separator that is not empty")
    return text(value)


def _old(value: JsonValue) -> str:
    if not text(value):
        raise ExpressionError("needs a text to look for that is not empty")
    return text(value)


def _length(value: JsonValue) -> int:
    return whole_number(value, 0, MAX_BYTES)


@make_filter(separator=_separator)
def split(value: JsonValue, separator: JsonValue = None) -> JsonValue:
    """The parts of a text between separators; without one, its words."""
    if separator is None:
        found = text(value).strip(_BLANKS)
        return parts(re.split(r"[ \t\r\n\f\v]+", found, maxsplit=MAX_PARTS) if found else [])
    return parts(text(value).split(_separator(separator), MAX_PARTS))


@make_filter()
def lines(value: JsonValue) -> JsonValue:
    """The lines of a text. An end of line at its end begins no other."""
    found = _LINE_END.split(text(value), maxsplit=MAX_PARTS)
    return parts(found[:-1] if found[-1] == "" else found)


@make_filter(old=_old, new=text)
def replace(value: JsonValue, old: JsonValue, new: JsonValue) -> JsonValue:
    """The text with another in place of each occurrence of one."""
    whole, out, into = text(value), _old(old), text(new)
    bounded(len(whole) + whole.count(out) * (len(into) - len(out)))
    return whole.replace(out, into)


@make_filter(length=_length, end=text)
def truncate(value: JsonValue, length: JsonValue, end: JsonValue = "…") -> JsonValue:
    """The text cut to a length, with an end that shows it."""
    whole, most = text(value), _length(length)
    if len(whole) <= most:
        return whole
    mark = text(end)[:most]
    return whole[: most - len(mark)] + mark


@make_filter(start=text)
def starts_with(value: JsonValue, start: JsonValue) -> JsonValue:
    """Whether the text starts with another."""
    return text(value).startswith(text(start))


@make_filter(end=text)
def ends_with(value: JsonValue, end: JsonValue) -> JsonValue:
    """Whether the text ends with another."""
    return text(value).endswith(text(end))


@make_filter()
def slug(value: JsonValue) -> JsonValue:
    """The text as a name for addresses, of a to z, 0 to 9 and hyphens: ``Hello, Wörld!`` is ``hello-world``."""
    plain = unicodedata.normalize("NFKD", text(value))
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    return _NOT_FOR_SLUGS.sub("-", letters.lower()).strip("-")
