"""Budgets hold: not one nano-dollar more, with many callers at several replicas, and whatever dies in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias, get_args

import pytest
from crewmesh_agent_crew.budgets.errors import BudgetAwaitsTopUp, BudgetExhausted, BudgetInUse
from crewmesh_agent_crew.budgets.models import AtEnd, Period, Scope
from crewmesh_agent_crew.budgets.repository import BudgetRepository
from crewmesh_agent_crew.budgets.schemas import NewBudget, NewTopUp
from crewmesh_agent_crew.budgets.scopes import ScopeKind, scopes_of
from crewmesh_agent_crew.guardrails.errors import ForbiddenByPolicy
from crewmesh_agent_crew.main import MIGRATIONS
from crewmesh_agent_crew.models.thinking import Answer, Thinking
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.models import Attempt, Begun, End, Ending, Refused
from crewmesh_agent_crew.spending.service import Ledger
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.errors import Problem
from crewmesh_kit.ids import new_id
from crewmesh_testkit import polling

from .harness import until
from .money import PER_TOKEN, Money, a_charge, a_replica, question, said

# What a question of these tests costs, at its worst and in the end: ten tokens.
ONE = Decimal("0.01")


@pytest.fixture
async def url(crews_database: str) -> str:
    await migrate(crews_database, app_id="agent-crew", migrations=MIGRATIONS)
    return crews_database


@pytest.fixture
async def money(url: str) -> AsyncGenerator[Money]:
    async with a_replica(url) as replica:
        yield replica


async def budget(
    money: Money,
    organization: str,
    limit: Decimal,
    *,
    kind: ScopeKind = "organization",
    of: str | None = None,
    period: Period = "month",
    at_100: AtEnd = "refuse",
    switch_to: str | None = None,
) -> str:
    scope = Scope(kind=kind, id=of)
    new = NewBudget(name=f"A {kind}'s", scope=scope, period=period, limit=limit, at_100=at_100, switch_to=switch_to)
    async with money.database.tenant(organization) as conn:
        return await BudgetRepository(conn, organization).add(new)


async def told(money: Money, organization: str) -> list[str]:
    query = b"SELECT event::jsonb ->> 'type' AS type FROM outbox WHERE topic = 'budgets' ORDER BY position"
    rows = await money.rows(organization, query)
    return [str(row["type"]) for row in rows]


async def test_64_callers_at_two_replicas_on_a_budget_for_10_calls(url: str) -> None:
    charge = a_charge()
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(a_replica(url)) for _ in range(2)]
        await budget(replicas[0], charge.organization, ONE * 10)
        outcomes = await asyncio.gather(
            *(replicas[n % 2].thinking.ask(question(), charge, f"k{n}") for n in range(64)), return_exceptions=True
        )
        passed = [each for each in outcomes if isinstance(each, Answer)]
        refused = [each for each in outcomes if isinstance(each, BudgetExhausted)]
        assert (len(passed), len(refused)) == (10, 54)
        assert sum(len(replica.servers.asked) for replica in replicas) == 10
        (balance,) = await replicas[0].balances(charge.organization)
        assert (balance["spent"], balance["reserved"]) == (100 * PER_TOKEN, 0)
        assert await told(replicas[0], charge.organization) == [
            "crewmesh.budget_warning.reached.v1",
            "crewmesh.budget.exhausted.v1",
        ]


async def test_who_dies_in_the_middle_has_spent_what_it_reserved(url: str) -> None:
    charge = a_charge()
    async with a_replica(url, lease_seconds=0.2) as money:
        await budget(money, charge.organization, ONE * 10)
        for n in range(10):
            began = await money.ledger.begin(attempt(charge, f"dead{n}"), may_switch=True)
            assert isinstance(began, Begun)
        with pytest.raises(BudgetInUse):
            async with asyncio.timeout(60):
                await first_refusal(money, charge)

        async def given_up() -> bool:
            await money.ledger.give_up_overdue()
            return {str(row["outcome"]) for row in await money.calls(charge.organization)} == {"unknown"}

        await polling.until(given_up, seconds=60, what="the dead to be given up")
        with pytest.raises(BudgetExhausted):
            await money.thinking.ask(question(), charge, "k")
        (balance,) = await money.balances(charge.organization)
        assert (balance["spent"], balance["reserved"]) == (100 * PER_TOKEN, 0)
        assert {str(row["outcome"]) for row in await money.calls(charge.organization)} == {"unknown"}


async def test_what_nobody_knows_the_end_of_is_asked_anew_and_both_are_charged(url: str) -> None:
    charge = a_charge()
    async with a_replica(url, lease_seconds=0.2) as money:
        await budget(money, charge.organization, ONE * 10)
        dead = attempt(charge, "k", request_hash="")
        await money.ledger.begin(dead, may_switch=True)
        answer = await money.thinking.ask(question(), charge, "k")  # waits until the other is held to be gone
        assert answer.reply.text == "ok"
        rows = await money.calls(charge.organization)
        assert [(row["outcome"], row["attempt"], row["cost_nano"]) for row in rows] == [
            ("unknown", 1, 10 * PER_TOKEN),
            ("ok", 2, 10 * PER_TOKEN),
        ]
        # It was only frozen, and says after all what it cost: less. Its answer comes too late.
        late = await money.ledger.end(dead, End("ok", 3 * PER_TOKEN, reply=said("late")))
        assert late is not None
        assert (late.reply.text, late.cost) == ("ok", 10 * PER_TOKEN)
        (balance,) = await money.balances(charge.organization)
        assert (balance["spent"], balance["reserved"]) == (13 * PER_TOKEN, 0)


async def test_whoever_may_fit_when_others_are_done_waits_for_them(money: Money) -> None:
    charge = a_charge()
    await budget(money, charge.organization, ONE * 2)
    money.servers.gate = asyncio.Event()
    money.servers.behave = lambda _model, _call, _sink: said("short", output=1)
    asking = [asyncio.create_task(money.thinking.ask(question(), charge, f"k{n}")) for n in range(4)]
    await until(lambda: len(money.servers.asked) == 2)
    money.servers.gate.set()
    answers = await asyncio.gather(*asking)
    assert [answer.cost for answer in answers] == [PER_TOKEN] * 4


async def test_at_four_fifths_the_cheaper_model_is_asked(money: Money) -> None:
    charge = a_charge()
    await budget(money, charge.organization, ONE * 5, switch_to="cheap")
    for n in range(6):
        await money.thinking.ask(question(), charge, f"k{n}")
    assert money.servers.asked == ["smart"] * 4 + ["cheap"] * 2


async def test_a_cheaper_model_that_is_not_there_changes_nothing(money: Money) -> None:
    charge = a_charge()
    await budget(money, charge.organization, ONE * 5, switch_to="cheap")
    money.models.missing.add("cheap")
    for n in range(5):
        await money.thinking.ask(question(), charge, f"k{n}")
    with pytest.raises(BudgetExhausted):
        await money.thinking.ask(question(), charge, "more")
    assert money.servers.asked == ["smart"] * 5


async def test_a_cheaper_model_that_a_policy_forbids_is_not_switched_to(money: Money) -> None:
    charge = a_charge()
    await budget(money, charge.organization, ONE * 5, switch_to="cheap")

    def forbids(*names: str) -> Problem | None:
        return ForbiddenByPolicy("not-cheap", "it") if "cheap" in names else None

    for n in range(5):
        await money.thinking.ask(question(), charge, f"k{n}", forbids=forbids)
    with pytest.raises(BudgetExhausted):
        await money.thinking.ask(question(), charge, "more", forbids=forbids)
    assert money.servers.asked == ["smart"] * 5


async def test_a_budget_that_lets_wait_says_so_and_goes_on_when_topped_up(money: Money) -> None:
    charge = a_charge()
    id_ = await budget(money, charge.organization, ONE, at_100="wait")
    await money.thinking.ask(question(), charge, "k1")
    with pytest.raises(BudgetAwaitsTopUp) as refused:
        await money.thinking.ask(question(), charge, "k2")
    assert refused.value.retryable
    assert refused.value.headers["Retry-After"] == "60"
    assert (refused.value.extensions["budget"], refused.value.extensions["spent"]) == (id_, "0.01")
    async with money.database.tenant(charge.organization) as conn:
        budgets = BudgetRepository(conn, charge.organization)
        found = await budgets.find(id_)
        assert found is not None
        await budgets.top_up(found, charge.organization, NewTopUp(amount=ONE, reason="More"), "me")
    assert (await money.thinking.ask(question(), charge, "k2")).reply.text == "ok"
    # It was told of the first time and, after the top-up, of the second.
    assert (await told(money, charge.organization)).count("crewmesh.budget.exhausted.v1") == 2


async def test_one_that_refuses_for_good_speaks_before_one_that_lets_wait(money: Money) -> None:
    charge = a_charge()
    await budget(money, charge.organization, Decimal(0), at_100="wait")
    await budget(money, charge.organization, Decimal(0), at_100="refuse")
    with pytest.raises(BudgetExhausted) as refused:
        await money.thinking.ask(question(), charge, "k")
    assert not isinstance(refused.value, BudgetAwaitsTopUp)


async def test_what_is_answered_already_needs_no_money(money: Money) -> None:
    charge = a_charge()
    await money.thinking.ask(question(), charge, "k")
    await budget(money, charge.organization, Decimal(0))
    assert (await money.thinking.ask(question(), charge, "k")).repeated
    money.models.missing.add("smart")
    assert (await money.thinking.ask(question(), charge, "k")).repeated


async def test_what_costs_nothing_is_never_refused(money: Money) -> None:
    charge = a_charge()
    await budget(money, charge.organization, Decimal(0))
    assert (await money.thinking.ask(question(model="free"), charge, "k")).cost == 0


async def test_each_run_has_the_limit_for_itself(money: Money) -> None:
    organization = new_id("org")
    await budget(money, organization, ONE, kind="run", period="total")
    runs = [Charge(organization, run=new_id("run")), Charge(organization, crew_run=new_id("crun"))]
    for run in runs:
        await money.thinking.ask(question(), run, f"{run.run}{run.crew_run}")
        with pytest.raises(BudgetExhausted):
            await money.thinking.ask(question(), run, f"{run.run}{run.crew_run}-more")
    assert (await money.thinking.ask(question(), Charge(organization), "no run")).reply.text == "ok"


async def test_other_organizations_budgets_are_nobody_else_s_business(money: Money) -> None:
    await budget(money, new_id("org"), Decimal(0))
    assert (await money.thinking.ask(question(), a_charge(), "k")).reply.text == "ok"


async def test_more_than_reserved_is_written_down_when_a_provider_charges_it(money: Money) -> None:
    charge = a_charge()
    id_ = await budget(money, charge.organization, ONE * 2)
    money.servers.behave = lambda _model, _call, _sink: said("much", output=30)
    await money.thinking.ask(question(), charge, "k")
    async with money.database.tenant(charge.organization) as conn:
        found = await BudgetRepository(conn, charge.organization).find(id_)
    assert found is not None
    assert found.use is not None
    assert (found.use.spent, found.use.left, found.use.overspent) == (ONE * 3, 0, ONE)
    with pytest.raises(BudgetExhausted):
        await money.thinking.ask(question(), charge, "more")


# Against a plain model of what budgets are


# A budget's kind and whose it is, if one's alone; and in the longer one whose share.
Whose: TypeAlias = tuple[ScopeKind, str | None]
Share: TypeAlias = tuple[ScopeKind, str | None, str]
KINDS: tuple[ScopeKind, ...] = get_args(ScopeKind)


@dataclass
class Plain:
    """Budgets in a dictionary."""

    limits: dict[Whose, int]
    spent: dict[Share, int] = field(default_factory=dict[Share, int])
    reserved: dict[Share, int] = field(default_factory=dict[Share, int])

    def matching(self, charge: Charge) -> list[Share]:
        scopes = scopes_of(charge)
        return [
            (kind, of, id_)
            for kind, of in self.limits
            for of_kind, id_ in scopes
            if kind == of_kind and of in (None, id_)
        ]

    def reserve(self, charge: Charge, worst: int) -> bool:
        places = self.matching(charge)
        used = {place: self.spent.get(place, 0) + self.reserved.get(place, 0) for place in places}
        if worst and any(used[place] + worst > self.limits[place[:2]] for place in places):
            return False
        for place in places:
            self.reserved[place] = self.reserved.get(place, 0) + worst
        return True

    def settle(self, charge: Charge, worst: int, cost: int) -> None:
        for place in self.matching(charge):
            self.reserved[place] -= worst
            self.spent[place] = self.spent.get(place, 0) + cost


@pytest.mark.parametrize("seed", range(12))
async def test_they_hold_as_a_plain_model_does(money: Money, seed: int) -> None:
    chance = random.Random(seed)
    organization = new_id("org")
    chosen = chance.sample(KINDS, 4)
    whose: list[Whose] = [
        (kind, None if kind == "organization" else chance.choice([None, f"{kind}-1"])) for kind in chosen
    ]
    plain = Plain({each: chance.randint(0, 3_000) for each in whose})
    for (kind, of), limit in plain.limits.items():
        await budget(money, organization, Decimal(limit) / 10**9, kind=kind, of=of)
    under_way: list[Attempt] = []
    for step in range(60):
        if under_way and chance.random() < 0.45:
            ended = under_way.pop(chance.randrange(len(under_way)))
            outcomes: list[Ending] = ["ok", "failed", "cancelled"]
            cost = chance.randint(0, ended.worst)
            await money.ledger.end(ended, End(chance.choice(outcomes), cost))
            plain.settle(ended.charge, ended.worst, cost)
            continue
        asked = attempt(a_charge_of(chance, organization), f"k{step}", worst=chance.randint(0, 600))
        began = await money.ledger.begin(asked, may_switch=True)
        assert isinstance(began, Begun if plain.reserve(asked.charge, asked.worst) else Refused), (seed, step)
        if isinstance(began, Begun):
            under_way.append(asked)
    rows = await money.rows(
        organization,
        b"SELECT b.scope_kind, b.scope_id AS of, s.scope_id, s.spent, s.reserved"
        b" FROM budget_balances s JOIN budgets b ON b.id = s.budget WHERE s.spent + s.reserved > 0",
    )
    present = {(row["scope_kind"], row["of"], row["scope_id"]): (row["spent"], row["reserved"]) for row in rows}
    wanted = {place: (plain.spent.get(place, 0), plain.reserved[place]) for place in plain.reserved}
    assert present == {place: amounts for place, amounts in wanted.items() if sum(amounts)}


def a_charge_of(chance: random.Random, organization: str) -> Charge:
    def one(kind: str) -> str | None:
        return chance.choice([None, f"{kind}-1", f"{kind}-2"])

    return Charge(
        organization,
        workflow=one("workflow"),
        run=one("run"),
        crew=one("crew"),
        agent=one("agent"),
        user=one("user"),
        api_key=one("key"),
        teams=frozenset(filter(None, (one("team"), one("team")))),
    )


def attempt(charge: Charge, key: str, *, worst: int = 10 * PER_TOKEN, request_hash: str = "h") -> Attempt:
    return Attempt(charge, key, request_hash, provider="acme", model="smart", price_version="1", worst=worst)


async def first_refusal(money: Money, charge: Charge) -> None:
    """What a caller is told who does not wait for others to give back what they reserved."""
    impatient = Thinking(Ledger(money.database), money.router, patience_seconds=0)
    await impatient.ask(question(), charge, "impatient")
