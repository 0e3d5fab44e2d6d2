"""What ``/v1/usage`` shows. Costs are US dollars, exact, as decimals in text."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Reply
from pydantic import Field

from crewmesh_agent_crew.spending.dollars import Cost
from crewmesh_agent_crew.spending.models import Outcome
from crewmesh_agent_crew.usage.models import Bucket, By


class Latency(Reply):
    """Of calls that were answered, in milliseconds, to within five percent."""

    p50: int
    p95: int


class Sums(Reply):
    """Calls under way count when they have ended."""

    calls: int
    input_tokens: int
    cached_tokens: int = Field(description="Of the input, what the provider had read before.")
    output_tokens: int
    cost: Cost
    latency: Latency | None = Field(
        description="None when no call was answered, and by run, step, crew run or conversation."
    )


class UsageRow(Sums):
    """``at`` is when its hour, day or month begins, in UTC. ``names``: whose it is, by what was asked for."""

    at: datetime | None = None
    names: dict[By, str | None] = {}


class Usage(Reply):
    """In a series the earliest come first, otherwise the dearest. Where there were no calls there is no row.

    By team, a call counts for each team of whoever asked; the total counts it once.
    """

    start: datetime
    end: datetime
    bucket: Bucket | None
    by: tuple[By, ...]
    total: Sums
    items: tuple[UsageRow, ...]
    truncated: bool = Field(description="There are more rows than were asked for.")


class UsageCall(Reply):
    """One attempt to ask a model. While it is under way its outcome is reserved, and its cost is not known."""

    id: str
    at: datetime
    outcome: Outcome
    error: str | None
    provider: str
    model: str
    price_version: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: Cost
    reserved: Cost = Field(description="The worst case that was held against budgets.")
    latency_ms: int | None
    attempt: int
    workflow: str | None
    run: str | None
    step: str | None
    crew_run: str | None
    crew: str | None
    agent: str | None
    conversation: str | None
    user: str | None
    key: str | None
    teams: tuple[str, ...]
