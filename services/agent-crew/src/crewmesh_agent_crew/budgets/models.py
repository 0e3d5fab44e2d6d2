"""What a budget is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract
from pydantic import Field, StringConstraints, model_validator

from crewmesh_agent_crew.budgets.scopes import ScopeKind

Period: TypeAlias = Literal["day", "week", "month", "total"]
# refuse: what needs more is told so; wait: it waits for a person to top up, or for the next period.
AtEnd: TypeAlias = Literal["refuse", "wait"]

ScopeId: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class Scope(Contract):
    """``id``: of whom; agents and crews go by their names. Without one, each of the kind has the limit for itself."""

    kind: ScopeKind
    id: ScopeId | None = None

    @model_validator(mode="after")
    def _there_is_one_organization(self) -> Scope:
        if self.kind == "organization" and self.id is not None:
            raise ValueError("a budget of the organization needs no id: it is its own organization's")
        return self


def end_of(period: Period, start: datetime) -> datetime | None:
    """When the period that began then is over: calendar days, weeks from Monday, and months, in UTC."""
    match period:
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(weeks=1)
        case "month":
            return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        case "total":
            return None


MOST_BUDGETS = 200
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]+$")]
