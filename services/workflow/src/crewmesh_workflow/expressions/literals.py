"""Texts and numbers as they are written in expressions."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from crewmesh_contracts.base import JsonValue
from pydantic_core import to_json

from crewmesh_workflow.expressions.errors import ExpressionError

# A text in quotes. Alternatives never match the same character, so that this cannot go back and forth.
TEXT = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"

_TEXT = re.compile(TEXT, re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "/": "/"}
_NUMBER = re.compile(
    r"-?(?:0|[1-9][0-9]{0,15})(?P<fraction>\.[0-9]{1,20})?(?P<exponent>[eE][+-]?[0-9]{1,3})?(?![A-Za-z0-9_.])"
)
_WHOLE = re.compile(r"-?[0-9]+")

# Whole numbers that every language reads alike.
MAX_WHOLE = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is written out."""

    value: JsonValue

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return json.dumps(self.value, ensure_ascii=False)
        return to_json(self.value).decode()


def read_text(text: str, start: int, end: int) -> tuple[Literal, int]:
    """The text whose quote stands at ``start``, and the position after it."""
    match = _TEXT.match(text, start, end)
    if match is None:
        raise ExpressionError("a text that begins here has no closing quote")
    if "\0" in match[0]:
        raise ExpressionError("the character NUL cannot be stored; leave it out")
    return Literal(_ESCAPE.sub(_unescaped, match[0][1:-1])), match.end()


def _unescaped(match: re.Match[str]) -> str:
    code, character = match[1], match[2]
    if code is not None:
        character = chr(int(code, 16))
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise ExpressionError(f"\\u{code} is no character that can be stored; leave it out")
        return character
    if character not in _ESCAPED:
        raise ExpressionError(f"\\{character} means nothing in a text; write \\\\ for a backslash")
    return _ESCAPED[character]


def read_number(text: str, start: int, end: int) -> tuple[Literal, int]:
    """The number at ``start``, and the position after it."""
    match = _NUMBER.match(text, start, end)
    if match is None:
        raise ExpressionError("this is not a number as JSON writes it, with at most 16 digits")
    return Literal(number(match[0])), match.end()


def number(text: str) -> int | float:
    """Text that is known to look like a number."""
    value = whole(float(text)) if not _WHOLE.fullmatch(text) else int(text)
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise ExpressionError(f"whole numbers go up to {MAX_WHOLE}; keep this one a text")
    return value


def whole(value: int | float) -> int | float:
    """2 for 2.0: JSON has one kind of number, and other languages write it so."""
    if not math.isfinite(value):
        raise ExpressionError("the number is too large")
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_WHOLE else value
