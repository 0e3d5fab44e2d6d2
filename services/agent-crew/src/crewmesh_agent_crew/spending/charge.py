"""Whom a model call is charged to: the names it is recorded under, and under which budgets are looked for."""

from __future__ import annotations

from dataclasses import dataclass

# A billionth of a dollar: whole numbers all the way, and a single token of the cheapest model still counts.
NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Charge:
    organization: str
    workflow: str | None = None
    run: str | None = None
    step: str | None = None
    crew_run: str | None = None
    crew: str | None = None
    agent: str | None = None
    conversation: str | None = None
    user: str | None = None
    api_key: str | None = None
    teams: frozenset[str] = frozenset()
