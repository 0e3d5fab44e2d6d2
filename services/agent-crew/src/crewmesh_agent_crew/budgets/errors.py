"""How money runs out.

::

    Problem
    ├── BudgetExhausted 402
    │   └── BudgetAwaitsTopUp 402 (retryable)
    ├── Unavailable ── BudgetInUse 503 (retryable)
    ├── NotFound ── UnknownBudget 404, UnknownTopUp 404
    └── Conflict ── TooManyBudgets 409, BudgetIsForOthers 409
"""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.errors import Conflict, NotFound, Problem, Unavailable

from crewmesh_agent_crew.spending.dollars import told

_LOOK_AGAIN_SECONDS = 60
_IN_USE_SECONDS = 5


class BudgetExhausted(Problem):
    """A budget has not enough left for what this might cost. It was not asked, and nothing was paid."""

    status, slug, title = 402, "budget-exhausted", "Budget exhausted"

    def __init__(self, budget: JsonObject, worst: int) -> None:
        super().__init__(
            f"{_situation(budget, worst)} Top it up with POST /v1/budgets/{budget['budget']}/top-ups, raise its limit, "
            f"ask for fewer tokens or a cheaper model{_until(budget)}.",
            headers=None,
            **_members(budget, worst),
        )


class BudgetAwaitsTopUp(BudgetExhausted):
    """A budget has not enough left, and what needs it waits until somebody tops it up or its next period begins."""

    slug, title, retryable = "budget-awaits-top-up", "Budget awaits a top-up", True

    def __init__(self, budget: JsonObject, worst: int) -> None:
        super().__init__(budget, worst)
        self.headers["Retry-After"] = str(_LOOK_AGAIN_SECONDS)


class BudgetInUse(Unavailable):
    """What is left of a budget is reserved for calls that are under way. Part of it is free again when they end."""

    slug, title = "budget-in-use", "Budget in use"

    def __init__(self, budget: JsonObject, worst: int) -> None:
        super().__init__(
            f"{_situation(budget, worst)} Calls that are under way will give back what they do not need; try again in "
            "a moment.",
            headers={"Retry-After": str(_IN_USE_SECONDS)},
            **_members(budget, worst),
        )


class UnknownBudget(NotFound):
    """The organization has no budget of that id. ``GET /v1/budgets`` lists those it has."""

    slug, title = "unknown-budget", "Unknown budget"

    def __init__(self, budget: str) -> None:
        super().__init__(f"There is no budget {budget[:60]!r}; GET /v1/budgets lists those there are.")


class UnknownTopUp(NotFound):
    """The budget was never topped up under that id. ``GET /v1/budgets/{id}/top-ups`` lists when it was."""

    slug, title = "unknown-top-up", "Unknown top-up"

    def __init__(self, budget: str, top_up: str) -> None:
        super().__init__(
            f"The budget {budget[:60]!r} has no top-up {top_up[:60]!r}; "
            f"GET /v1/budgets/{budget[:60]}/top-ups lists those there are."
        )


class TooManyBudgets(Conflict):
    """The organization has as many budgets as it may. Each is looked at before every call, so they must be few."""

    slug, title = "too-many-budgets", "Too many budgets"

    def __init__(self, most: int) -> None:
        super().__init__(f"An organization has at most {most} budgets. Delete one that is not needed any more.")


class BudgetIsForOthers(Conflict):
    """For whom a budget is, and for which period, is fixed: what it has counted would be that of somebody else."""

    slug, title = "budget-is-for-others", "Budget is for others"

    def __init__(self) -> None:
        super().__init__("Scope and period of a budget stay as they are. Create another one, and delete this.")


def refusal(budgets: tuple[JsonObject, ...], worst: int) -> BudgetExhausted | BudgetInUse:
    """Of several budgets the one that says most: it is not worth waiting for one when another refuses for good."""
    exhausted = [each for each in budgets if _number(each["spent"]) + worst > _number(each["limit"])]
    for_good = [each for each in exhausted if each["at_100"] == "refuse"]
    if for_good:
        return BudgetExhausted(for_good[0], worst)
    if exhausted:
        return BudgetAwaitsTopUp(exhausted[0], worst)
    return BudgetInUse(budgets[0], worst)


def _situation(budget: JsonObject, worst: int) -> str:
    limit, spent, reserved = (_number(budget[name]) for name in ("limit", "spent", "reserved"))
    return (
        f"The budget {budget['name']!r} ({budget['scope_kind']} {budget['scope_id']}) has ${told(limit)}; "
        f"${told(spent)} of it is spent and ${told(reserved)} is reserved, and this call might cost ${told(worst)}."
    )


def _until(budget: JsonObject) -> str:
    return "" if budget["period"] == "total" else f", or wait for the next {budget['period']}"


def _members(budget: JsonObject, worst: int) -> JsonObject:
    amounts: JsonObject = {name: told(_number(budget[name])) for name in ("limit", "spent", "reserved")}
    named: JsonObject = {name: budget[name] for name in ("budget", "scope_kind", "scope_id", "period")}
    return {**named, **amounts, "needed": told(worst)}


def _number(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no amount")
    return value
