"""Filters that give numbers, and true or false."""

from __future__ import annotations

import decimal
import math
import re

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions import literals
from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.filters import base
from crewmesh_workflow.expressions.filters.base import make_filter, text
from crewmesh_workflow.expressions.literals import MAX_WHOLE, whole

_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0", ""})


@make_filter()
def number(value: JsonValue) -> JsonValue:
    """The number that a text shows; true is 1 and false is 0."""
    if isinstance(value, (int, float)):
        return whole(value) if not isinstance(value, bool) else int(value)
    shown = text(value).strip(" \t\r\n\f\v")
    if _NUMBER.fullmatch(shown) is None:
        raise ExpressionError(f"finds no number in {shown[:40]!r}")
    try:
        return literals.number(shown)
    except ExpressionError as error:
        raise ExpressionError(f"cannot read {shown[:40]}: {error}") from None


@make_filter(takes_null=True)
def bool_(value: JsonValue) -> JsonValue:
    """True for true, yes, on and numbers but 0; false for false, no, off, 0, an empty text and null."""
    if value is None or isinstance(value, (bool, int, float)):
        return bool(value)
    shown = text(value).strip(" \t\r\n\f\v").lower()
    if shown in _TRUE:
        return True
    if shown in _FALSE:
        return False
    raise ExpressionError(f"finds neither true nor false in {shown[:40]!r}")


def _digits(value: JsonValue) -> int:
    return base.whole_number(value, 0, 10)


@make_filter(digits=_digits)
def round_(value: JsonValue, digits: JsonValue = 0) -> JsonValue:
    """The number with so many digits after the point; a half goes away from zero."""
    places = _digits(digits)
    given = base.number(value)
    if abs(given) > MAX_WHOLE:
        return given
    exact = decimal.Decimal(repr(given))
    return whole(float(exact.quantize(decimal.Decimal(1).scaleb(-places), rounding=decimal.ROUND_HALF_UP)))


@make_filter()
def floor(value: JsonValue) -> JsonValue:
    """The next whole number below."""
    return math.floor(base.number(value))


@make_filter()
def ceil(value: JsonValue) -> JsonValue:
    """The next whole number above."""
    return math.ceil(base.number(value))


@make_filter()
def abs_(value: JsonValue) -> JsonValue:
    """The number without its sign."""
    return abs(base.number(value))
