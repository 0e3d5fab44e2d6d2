"""What can be done with budgets. Holding calls against them is the ledger's: it is one step with writing them down."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.budgets.errors import BudgetIsForOthers, TooManyBudgets, UnknownBudget, UnknownTopUp
from crewmesh_agent_crew.budgets.models import MOST_BUDGETS
from crewmesh_agent_crew.budgets.repository import BudgetRepository, Filters
from crewmesh_agent_crew.budgets.schemas import Budget, NewBudget, NewTopUp, TopUp, Use
from crewmesh_agent_crew.spending.dollars import MOST_DOLLARS
from crewmesh_agent_crew.spending.hidden import hidden_from

# Whoever waits for money listens here: there may be more of it now.
CHANNEL = "budgets"


class Budgets:
    def __init__(self, database: Database, idempotency: Idempotency, signals: Signals, sharing: Sharing) -> None:
        self._database = database
        self._idempotency = idempotency
        self._signals = signals
        self._sharing = sharing

    async def create(self, identity: Identity, key: str | None, new: NewBudget) -> Budget:
        async with self._database.tenant(identity.organization) as conn:
            budgets = BudgetRepository(conn, identity.organization)

            async def add() -> Budget:
                if await budgets.alone() >= MOST_BUDGETS:
                    raise TooManyBudgets(MOST_BUDGETS)
                created = await _required(budgets, await budgets.add(new))
                await audit.record(conn, identity, "budget.created", created.id, after=_told(created))
                return created

            return await self._idempotency.once_in(
                conn, identity=identity, scope="budgets", key=key, request=new, work=add
            )

    async def page(self, identity: Identity, filters: Filters, wanted: PageRequest) -> Page[Budget]:
        async with self._database.tenant(identity.organization) as conn:
            budgets = await self._told(conn, identity)
            found = await budgets.page(filters, wanted.after_text(), wanted.limit + 1)
        return wanted.page(found, lambda budget: (budget.id,))

    async def get(self, identity: Identity, id_: str) -> Budget:
        async with self._database.tenant(identity.organization) as conn:
            return await _required(await self._told(conn, identity), id_)

    async def replace(self, identity: Identity, id_: str, wanted: NewBudget, if_match: str | None) -> Budget:
        async with self._database.tenant(identity.organization) as conn:
            budgets = await self._told(conn, identity)
            before = await _required(budgets, id_, to_change=True)
            require_match(if_match, before.version)
            if (wanted.scope, wanted.period) != (before.scope, before.period):
                raise BudgetIsForOthers
            await budgets.replace(id_, wanted)
            after = await _required(budgets, id_)
            await audit.record(conn, identity, "budget.updated", id_, before=_told(before), after=_told(after))
        await self._signals.notify(CHANNEL)
        return after

    async def delete(self, identity: Identity, id_: str) -> None:
        async with self._database.tenant(identity.organization) as conn:
            budgets = await self._told(conn, identity)
            before = await _required(budgets, id_, to_change=True)
            await budgets.delete(id_)
            await audit.record(conn, identity, "budget.deleted", id_, before=_told(before))
        await self._signals.notify(CHANNEL)

    async def balances(self, identity: Identity, id_: str, wanted: PageRequest) -> Page[Use]:
        after = cast("tuple[int, int] | None", wanted.after(int, int))
        async with self._database.tenant(identity.organization) as conn:
            budgets = await self._told(conn, identity)
            await _required(budgets, id_)
            found = await budgets.balances(id_, after, wanted.limit + 1)
        page = wanted.page(found, lambda each: each[0])
        return Page[Use](items=tuple(use for _, use in page.items), next_cursor=page.next_cursor)

    async def top_up(self, identity: Identity, id_: str, key: str | None, new: NewTopUp) -> TopUp:
        async with self._database.tenant(identity.organization) as conn:
            budgets = await self._told(conn, identity)

            async def add() -> TopUp:
                budget = await _required(budgets, id_, to_change=True)
                scope_id = _whose(budget, new)
                top_up, in_all = await budgets.top_up(budget, scope_id, new, identity.subject)
                if in_all > MOST_DOLLARS:
                    raise _wrong("amount", f"a budget is topped up by at most ${MOST_DOLLARS} in one period")
                told: JsonObject = {"amount": str(new.amount), "scope_id": scope_id, "reason": new.reason}
                await audit.record(conn, identity, "budget.topped-up", id_, after=told)
                return await self._top_up(budgets, id_, top_up)

            added = await self._idempotency.once_in(
                conn, identity=identity, scope=f"top-ups of {id_}", key=key, request=new, work=add
            )
        await self._signals.notify(CHANNEL)
        return added

    async def top_ups(self, identity: Identity, id_: str, wanted: PageRequest) -> Page[TopUp]:
        """The latest first."""
        async with self._database.tenant(identity.organization) as conn:
            budgets = await self._told(conn, identity)
            await _required(budgets, id_)
            found = await budgets.top_ups(id_, wanted.after_text(), wanted.limit + 1)
        return wanted.page(found, lambda top_up: (top_up.id,))

    async def get_top_up(self, identity: Identity, id_: str, top_up: str) -> TopUp:
        async with self._database.tenant(identity.organization) as conn:
            budgets = await self._told(conn, identity)
            await _required(budgets, id_)
            return await self._top_up(budgets, id_, top_up)

    async def _told(self, conn: AsyncConnection[DictRow], identity: Identity) -> BudgetRepository:
        """Budgets as far as they are told to ``identity``."""
        hidden = await hidden_from(conn, self._sharing, identity)
        return BudgetRepository(conn, identity.organization, hidden)

    async def _top_up(self, budgets: BudgetRepository, id_: str, top_up: str) -> TopUp:
        found = await budgets.find_top_up(id_, top_up)
        if found is None:
            raise UnknownTopUp(id_, top_up)
        return found


async def _required(budgets: BudgetRepository, id_: str, *, to_change: bool = False) -> Budget:
    found = await budgets.find(id_, to_change=to_change)
    if found is None:
        raise UnknownBudget(id_)
    return found


def _whose(budget: Budget, new: NewTopUp) -> str:
    if budget.use is None:
        if new.scope_id is None:
            raise _wrong("scope_id", f"each {budget.scope.kind} has this budget for itself; say whose is topped up")
        return new.scope_id
    if new.scope_id not in (None, budget.use.scope_id):
        raise _wrong("scope_id", f"this budget is for {budget.use.scope_id} alone; leave it out")
    return budget.use.scope_id


def _wrong(field: str, why: str) -> ValidationFailed:
    place: JsonObject = {"path": f"body.{field}", "message": why}
    return ValidationFailed(f"The budget cannot be topped up like this: {why}.", errors=[place])


def _told(budget: Budget) -> JsonObject:
    return budget.model_dump(
        mode="json", include={"name", "scope", "period", "limit", "switch_to", "at_100", "enabled"}
    )


@asynccontextmanager
async def open_budgets(resources: Resources) -> AsyncGenerator[Budgets]:
    yield Budgets(resources.get(Database), resources.get(Idempotency), resources.get(Signals), resources.get(Sharing))
