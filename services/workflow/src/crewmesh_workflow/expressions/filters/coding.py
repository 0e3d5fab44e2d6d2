"""Filters between values and ways to write them."""

from __future__ import annotations

import base64 as base64_coding
import binascii
import hashlib
import json as json_coding
import re
from urllib.parse import quote

from crewmesh_contracts.base import JsonValue
from pydantic_core import from_json, to_json

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.filters.base import bounded, make_filter, text, whole_number
from crewmesh_workflow.expressions.values import as_text, one_of

# What may be a number too large to be one, which the parser takes for infinity.
_HUGE = re.compile(r"[0-9][eE]\+?[0-9]{3}|[0-9]{300}")


@make_filter()
def string(value: JsonValue) -> JsonValue:
    """The value as text; what is not text as JSON."""
    return as_text(value)


def _indent(value: JsonValue) -> int:
    return whole_number(value, 0, 8)


@make_filter(takes_null=True, indent=_indent)
def json(value: JsonValue, indent: JsonValue = 0) -> JsonValue:
    """The value as JSON, in lines with an indent if there is one."""
    width = _indent(indent)
    if width == 0:
        return to_json(value).decode()
    return json_coding.dumps(value, ensure_ascii=False, indent=width)


@make_filter()
def parse_json(value: JsonValue) -> JsonValue:
    """The value that a text of JSON stands for."""
    source = text(value)
    if "\\u0000" in source:
        raise ExpressionError("cannot take the character NUL, which cannot be stored")
    try:
        parsed: JsonValue = from_json(source, allow_inf_nan=False)
        if _HUGE.search(source):
            json_coding.dumps(parsed, allow_nan=False)
    except ValueError as error:
        raise ExpressionError(f"finds no JSON: {str(error)[:200]}") from None
    return parsed


@make_filter()
def base64(value: JsonValue) -> JsonValue:
    """The text's UTF-8 as Base64."""
    return base64_coding.b64encode(_bytes(value)).decode()


@make_filter()
def base64_decode(value: JsonValue) -> JsonValue:
    """The text whose UTF-8 was written as Base64."""
    try:
        decoded = base64_coding.b64decode(_bytes(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ExpressionError("finds no Base64 of a text") from None
    if "\0" in decoded:
        raise ExpressionError("cannot take the character NUL, which cannot be stored")
    return decoded


@make_filter()
def url_encode(value: JsonValue) -> JsonValue:
    """The text as a part of an address; everything but letters, digits and ``-._~`` is escaped."""
    one_of(value, str, int, float, bool)
    shown = as_text(value).encode(errors="replace")
    bounded(3 * len(shown) if len(shown) > 1_000_000 else 0)
    return quote(shown, safe="")


@make_filter()
def hash_(value: JsonValue) -> JsonValue:
    """SHA-256 of the text, as 64 hexadecimal digits."""
    return hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: JsonValue) -> bytes:
    try:
        return text(value).encode()
    except UnicodeEncodeError:
        raise ExpressionError("needs a text without halves of characters") from None
