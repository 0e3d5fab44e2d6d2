"""A line of the log, where a chain stands, and what may be wrong with one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Outcome = Literal["done", "denied"]
# changed: a line is not what it was sealed as. removed: a line is missing in the middle, or at the beginning.
# replaced: a line is sealed, but is not the one that the next was written after. cut_off: lines at the end are missing.
# added: there are lines behind the end.
Damage = Literal["changed", "removed", "replaced", "cut_off", "added"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as it is kept. ``before`` and ``after`` are JSON as text."""

    seq: int
    id: str
    at: datetime
    received_at: datetime
    actor: str
    acting_for: str | None
    action: str
    resource: str
    outcome: Outcome
    before: str | None
    after: str | None
    address: str | None
    agent: str | None
    trace: str | None
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a chain ends, and behind what it begins."""

    seq: int
    hash: bytes
    anchor_seq: int
    anchor_hash: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place at which a chain is not what it was."""

    seq: int
    what: Damage


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list or an export is narrowed down to."""

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
