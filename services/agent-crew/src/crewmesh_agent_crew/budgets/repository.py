"""The SQL of budgets. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.budgets.models import Period, Scope, end_of
from crewmesh_agent_crew.budgets.schemas import Budget, NewBudget, NewTopUp, TopUp, Use
from crewmesh_agent_crew.budgets.scopes import ScopeKind
from crewmesh_agent_crew.spending.dollars import dollars_of, nano_of
from crewmesh_agent_crew.spending.hidden import Hidden

# Names that are not told to who asks: neither the budgets that are for them, nor what they used of others.
_TOLD: LiteralString = """
(b.scope_kind <> 'crew' OR {0} <> ALL(%(crews)s)) AND (b.scope_kind <> 'agent' OR {0} <> ALL(%(agents)s))
"""
_BUDGET_TOLD: LiteralString = _TOLD.format("coalesce(b.scope_id, '')")
_BUDGET: LiteralString = """
SELECT b.*, s.spent, s.reserved, s.extra, budget_period_start(b.period) AS period_start,
       CASE WHEN b.scope_kind = 'organization' THEN b.org_id ELSE b.scope_id END AS of_id
FROM budgets b LEFT JOIN budget_balances s
    ON s.budget = b.id AND s.period_start = budget_period_start(b.period)
    AND s.scope_id = CASE WHEN b.scope_kind = 'organization' THEN b.org_id ELSE b.scope_id END
"""
_FIND: LiteralString = f"{_BUDGET} WHERE b.org_id = %(org)s AND b.id = %(id)s AND {_BUDGET_TOLD}"
_PAGE: LiteralString = f"""{_BUDGET}
WHERE b.org_id = %(org)s AND (%(after)s::text IS NULL OR b.id > %(after)s) AND {_BUDGET_TOLD}
  AND (%(kind)s::text IS NULL OR b.scope_kind = %(kind)s) AND (%(of)s::text IS NULL OR b.scope_id = %(of)s)
ORDER BY b.id LIMIT %(limit)s
"""
_LOCK = "SELECT FROM budgets WHERE org_id = %s AND id = %s FOR NO KEY UPDATE"
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('budgets of ' || %s, 0))"
_COUNT = "SELECT count(*) AS n FROM budgets WHERE org_id = %s"
_ADD = """
INSERT INTO budgets (id, org_id, name, scope_kind, scope_id, period, limit_nano, switch_to, at_100, enabled)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_REPLACE = """
UPDATE budgets SET name = %s, limit_nano = %s, switch_to = %s, at_100 = %s, enabled = %s,
       version = version + 1, updated_at = now()
WHERE org_id = %s AND id = %s
"""
# What was told of the old limit may be told again of the new one.
_UNTELL = """
UPDATE budget_balances s
SET warned_at = CASE WHEN s.spent >= budget_limit(b, s) * 0.8 THEN s.warned_at END,
    used_up_at = CASE WHEN s.spent >= budget_limit(b, s) THEN s.used_up_at END
FROM budgets b
WHERE b.id = s.budget AND b.org_id = %s AND b.id = %s AND s.period_start = budget_period_start(b.period)
"""
_DELETE = "DELETE FROM budgets WHERE org_id = %s AND id = %s"
_BALANCES: LiteralString = f"""
SELECT s.*, b.period, b.limit_nano FROM budget_balances s JOIN budgets b ON b.id = s.budget
WHERE b.org_id = %(org)s AND b.id = %(id)s AND s.period_start = budget_period_start(b.period)
  AND (%(spent)s::bigint IS NULL OR (s.spent, s.id) < (%(spent)s, %(after)s)) AND {_TOLD.format("s.scope_id")}
ORDER BY s.spent DESC, s.id DESC LIMIT %(limit)s
"""
_RAISE = """
INSERT INTO budget_balances AS s (org_id, budget, scope_id, period_start, extra)
SELECT org_id, id, %(scope_id)s, budget_period_start(period), %(amount)s FROM budgets
WHERE org_id = %(org)s AND id = %(id)s
ON CONFLICT (budget, period_start, scope_id) DO UPDATE SET extra = s.extra + excluded.extra, touched_at = now()
RETURNING extra
"""
_NOTE_TOP_UP = """
INSERT INTO budget_top_ups (id, org_id, budget, scope_id, period_start, amount_nano, reason, by)
SELECT %(top_up)s, org_id, id, %(scope_id)s, budget_period_start(period), %(amount)s, %(reason)s, %(by)s
FROM budgets WHERE org_id = %(org)s AND id = %(id)s
"""
_TOP_UPS: LiteralString = f"""
SELECT t.*, b.period FROM budget_top_ups t JOIN budgets b ON b.id = t.budget
WHERE t.org_id = %(org)s AND t.budget = %(id)s AND (%(before)s::text IS NULL OR t.id < %(before)s)
  AND {_TOLD.format("t.scope_id")}
ORDER BY t.id DESC LIMIT %(limit)s
"""
_TOP_UP: LiteralString = f"""
SELECT t.*, b.period FROM budget_top_ups t JOIN budgets b ON b.id = t.budget
WHERE t.org_id = %(org)s AND t.budget = %(id)s AND t.id = %(top_up)s AND {_TOLD.format("t.scope_id")}
"""


@dataclass(frozen=True, slots=True)
class Filters:
    kind: ScopeKind | None = None
    of: str | None = None


class BudgetRepository:
    def __init__(self, connection: AsyncConnection[DictRow], organization: str, hidden: Hidden | None = None) -> None:
        self._connection = connection
        self._organization = organization
        hidden = hidden or Hidden()
        self._hidden = {"crews": list(hidden.crews), "agents": list(hidden.agents)}

    async def alone(self) -> int:
        """Until the transaction ends nobody else adds a budget; how many there are."""
        await self._connection.execute(_ALONE, [self._organization])
        rows = await self._rows(_COUNT, [self._organization])
        return int(rows[0]["n"])

    async def add(self, new: NewBudget) -> str:
        id_ = new_id("bud")
        await self._connection.execute(
            _ADD,
            [
                id_,
                self._organization,
                new.name,
                new.scope.kind,
                new.scope.id,
                new.period,
                nano_of(new.limit),
                new.switch_to,
                new.at_100,
                new.enabled,
            ],
        )
        return id_

    async def find(self, id_: str, *, to_change: bool = False) -> Budget | None:
        if to_change:
            await self._connection.execute(_LOCK, [self._organization, id_])
        rows = await self._rows(_FIND, {"org": self._organization, "id": id_, **self._hidden})
        return _budget(rows[0]) if rows else None

    async def page(self, filters: Filters, after: str | None, limit: int) -> list[Budget]:
        named = {"org": self._organization, "after": after, "limit": limit, "kind": filters.kind, "of": filters.of}
        return [_budget(row) for row in await self._rows(_PAGE, {**named, **self._hidden})]

    async def replace(self, id_: str, by: NewBudget) -> None:
        """All but scope and period; what was told of it may have to be told again."""
        values = [by.name, nano_of(by.limit), by.switch_to, by.at_100, by.enabled]
        await self._connection.execute(_REPLACE, [*values, self._organization, id_])
        await self._connection.execute(_UNTELL, [self._organization, id_])

    async def delete(self, id_: str) -> bool:
        return (await self._connection.execute(_DELETE, [self._organization, id_])).rowcount == 1

    async def balances(self, id_: str, after: tuple[int, int] | None, limit: int) -> list[tuple[tuple[int, int], Use]]:
        """Of the present period, those that spent most first; each with what to continue after."""
        spent, last = after or (None, None)
        named = {"org": self._organization, "id": id_, "spent": spent, "after": last, "limit": limit}
        rows = await self._rows(_BALANCES, {**named, **self._hidden})
        return [((row["spent"], row["id"]), _use(row, row["scope_id"])) for row in rows]

    async def top_up(self, budget: Budget, scope_id: str, new: NewTopUp, by: str) -> tuple[str, Decimal]:
        """Its id, and all that was added to the balance in this period."""
        id_ = new_id("top")
        named: dict[str, object] = {
            "org": self._organization,
            "id": budget.id,
            "scope_id": scope_id,
            "amount": nano_of(new.amount),
            "top_up": id_,
            "reason": new.reason,
            "by": by,
        }
        rows = await self._rows(_RAISE, named)
        await self._connection.execute(_NOTE_TOP_UP, named)
        await self._connection.execute(_UNTELL, [self._organization, budget.id])
        return id_, dollars_of(rows[0]["extra"])

    async def top_ups(self, budget: str, before: str | None, limit: int) -> list[TopUp]:
        named = {"org": self._organization, "id": budget, "before": before, "limit": limit, **self._hidden}
        return [_top_up(row) for row in await self._rows(_TOP_UPS, named)]

    async def find_top_up(self, budget: str, top_up: str) -> TopUp | None:
        named = {"org": self._organization, "id": budget, "top_up": top_up, **self._hidden}
        rows = await self._rows(_TOP_UP, named)
        return _top_up(rows[0]) if rows else None

    async def _rows(self, query: LiteralString, parameters: Sequence[object] | Mapping[str, object]) -> list[DictRow]:
        return await (await self._connection.execute(query, parameters)).fetchall()


def _budget(row: DictRow) -> Budget:
    return Budget(
        id=row["id"],
        name=row["name"],
        scope=Scope(kind=row["scope_kind"], id=row["scope_id"]),
        period=row["period"],
        limit=dollars_of(row["limit_nano"]),
        switch_to=row["switch_to"],
        at_100=row["at_100"],
        enabled=row["enabled"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        use=None if row["of_id"] is None else _use(row, row["of_id"]),
    )


def _use(row: DictRow, scope_id: str) -> Use:
    spent, reserved, extra = (row[name] or 0 for name in ("spent", "reserved", "extra"))
    limit = row["limit_nano"] + extra
    period: Period = row["period"]
    start: datetime = row["period_start"]
    return Use(
        scope_id=scope_id,
        spent=dollars_of(spent),
        reserved=dollars_of(reserved),
        topped_up=dollars_of(extra),
        left=dollars_of(max(limit - spent - reserved, 0)),
        overspent=dollars_of(max(spent - limit, 0)),
        period_start=_begun(period, start),
        resets_at=end_of(period, start),
    )


def _top_up(row: DictRow) -> TopUp:
    return TopUp(
        id=row["id"],
        budget=row["budget"],
        scope_id=row["scope_id"],
        amount=dollars_of(row["amount_nano"]),
        reason=row["reason"],
        by=row["by"],
        period_start=_begun(row["period"], row["period_start"]),
        at=row["at"],
    )


def _begun(period: Period, start: datetime) -> datetime | None:
    return None if period == "total" else start
