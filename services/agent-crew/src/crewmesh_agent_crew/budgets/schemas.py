"""What ``/v1/budgets`` takes and shows. Amounts are US dollars, as decimals in text: no cent is lost to binary."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field

from crewmesh_agent_crew.budgets.models import AtEnd, Name, Period, Scope, ScopeId
from crewmesh_agent_crew.catalogue.models import ModelName
from crewmesh_agent_crew.spending.dollars import Cost, Dollars, PositiveDollars

_SWITCH = "The model, or alias, that is asked instead once four fifths are spent; none: there is only a warning."
_AT_100 = "When nothing is left: refuse what needs more, or let it wait for a top-up or the next period."


class NewBudget(Contract):
    """It counts what is spent from its creation on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "All of us, a month",
                    "scope": {"kind": "organization"},
                    "period": "month",
                    "limit": "200",
                    "switch_to": "fast",
                    "at_100": "wait",
                },
                {"name": "Every run", "scope": {"kind": "run"}, "period": "total", "limit": "1"},
            ]
        }
    )

    name: Name
    scope: Scope
    period: Period = "month"
    limit: Dollars
    switch_to: Annotated[ModelName | None, Field(description=_SWITCH)] = None
    at_100: Annotated[AtEnd, Field(description=_AT_100)] = "refuse"
    enabled: bool = True


class Use(Reply):
    """What of a budget is used in the present period. ``left`` is the limit with top-ups, less spent and reserved."""

    scope_id: str
    spent: Cost
    reserved: Cost = Field(description="For calls that are under way; what they do not need is given back.")
    topped_up: Cost
    left: Cost
    overspent: Cost = Field(description="More than zero only where a provider charged more than it could.")
    period_start: datetime | None = Field(description="None when the budget has no period.")
    resets_at: datetime | None


class Budget(Reply):
    """``use`` is none where each of a kind has the limit for itself: then ask for its balances."""

    id: str
    name: str
    scope: Scope
    period: Period
    limit: Dollars
    switch_to: str | None
    at_100: AtEnd
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
    use: Use | None = None


class NewTopUp(Contract):
    """More for the present period. Whatever waits for it goes on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": "25", "reason": "The launch takes longer."}]})

    amount: PositiveDollars
    reason: Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]
    scope_id: Annotated[
        ScopeId | None, Field(description="Whose share; needed where each of a kind has the limit for itself.")
    ] = None


class TopUp(Reply):
    id: str
    budget: str
    scope_id: str
    amount: Dollars
    reason: str
    by: str
    period_start: datetime | None
    at: datetime
