"""What usage can be asked by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal, TypeAlias

By: TypeAlias = Literal[
    "provider",
    "model",
    "workflow",
    "run",
    "step",
    "crew_run",
    "crew",
    "agent",
    "conversation",
    "user",
    "key",
    "team",
    "outcome",
]
Bucket: TypeAlias = Literal["hour", "day", "month"]

# Where the name differs from the column's. Teams are several, in an array.
COLUMNS: Mapping[By, str] = MappingProxyType({"user": "user_id", "key": "key_id", "team": "teams"})

# Of these there may be nearly as many as calls.
MANY: frozenset[By] = frozenset({"run", "step", "crew_run", "conversation"})

MOST_DAYS = 400
# So that a series stays one that somebody can look at.
MOST_DAYS_BY_HOUR = 62
MOST_GROUPS = 10_000


def column_of(by: By) -> str:
    return COLUMNS.get(by, by)


@dataclass(frozen=True, slots=True)
class Span:
    """From and to, the end not included."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """What is summed up. ``where``: only calls with these names."""

    span: Span
    bucket: Bucket | None = None
    by: tuple[By, ...] = ()
    where: Mapping[By, str] = field(default_factory=dict[By, str])
    limit: int = 1_000
