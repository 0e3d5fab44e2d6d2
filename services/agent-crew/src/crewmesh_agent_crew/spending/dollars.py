"""Nano-dollars as people read and write them: decimals, exact, as text."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import Field, PlainSerializer

from crewmesh_agent_crew.spending.charge import NANO

# A billion dollars, so that sums of many still fit into 64 bits.
MOST_DOLLARS = 1_000_000_000


def as_text(amount: Decimal) -> str:
    """Without an exponent and without zeros that say nothing: 0.5, 12, 0.000000001."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_AS_TEXT = PlainSerializer(as_text, return_type=str)
_EXACT = Field(ge=0, le=MOST_DOLLARS, max_digits=19, decimal_places=9)

Dollars: TypeAlias = Annotated[Decimal, _EXACT, _AS_TEXT]
# What something cost is not bounded by what we like.
Cost: TypeAlias = Annotated[Decimal, _AS_TEXT]
PositiveDollars: TypeAlias = Annotated[Decimal, _EXACT, Field(gt=0), _AS_TEXT]


def nano_of(amount: Decimal) -> int:
    return int(amount * NANO)


def dollars_of(nano: int) -> Decimal:
    return Decimal(nano) / NANO


def told(nano: int) -> str:
    return as_text(dollars_of(nano))
