"""The ledger: one paid answer per key, and every call on the record, whatever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path

import pytest
from crewmesh_agent_crew.budgets.repository import BudgetRepository
from crewmesh_agent_crew.budgets.schemas import NewBudget, NewTopUp
from crewmesh_agent_crew.main import MIGRATIONS
from crewmesh_agent_crew.models.calls import ModelReply
from crewmesh_agent_crew.providers.protocol import ProviderError
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.errors import IdempotencyKeyReused, Problem, Unavailable
from crewmesh_kit.ids import new_id
from prometheus_client import REGISTRY
from psycopg import sql

from .harness import until
from .money import PER_TOKEN, Money, a_charge, a_replica, question, said


@pytest.fixture
async def url(crews_database: str) -> str:
    await migrate(crews_database, app_id="agent-crew", migrations=Path(MIGRATIONS))
    return crews_database


@pytest.fixture
async def money(url: str) -> AsyncGenerator[Money]:
    async with a_replica(url) as replica:
        yield replica


async def test_a_call_is_settled_and_answered_once(money: Money) -> None:
    charge = a_charge()
    first = await money.thinking.ask(question(), charge, "k")
    again = await money.thinking.ask(question(), charge, "k")
    assert (first.reply.text, first.cost, first.repeated) == ("ok", 10 * PER_TOKEN, False)
    assert (again.reply, again.cost, again.repeated) == (first.reply, first.cost, True)
    assert money.servers.asked == ["smart"]
    (row,) = await money.calls(charge.organization)
    assert (row["outcome"], row["cost_nano"], row["input"], row["output"]) == ("ok", 10 * PER_TOKEN, 100, 10)


async def test_another_question_under_the_same_key_is_refused(money: Money) -> None:
    charge = a_charge()
    await money.thinking.ask(question(), charge, "k")
    with pytest.raises(IdempotencyKeyReused):
        await money.thinking.ask(question("And what else?"), charge, "k")


async def test_those_who_ask_at_the_same_time_share_one_call(money: Money, url: str) -> None:
    charge = a_charge()
    money.servers.gate = asyncio.Event()
    async with a_replica(url) as other:
        asking = [asyncio.create_task(replica.thinking.ask(question(), charge, "k")) for replica in (money, other) * 4]
        await until(lambda: bool(money.servers.asked or other.servers.asked))
        money.servers.gate.set()
        answers = await asyncio.gather(*asking)
        assert len(money.servers.asked) + len(other.servers.asked) == 1
    assert {answer.reply.text for answer in answers} == {"ok"}


async def test_what_failed_before_anything_was_paid_costs_nothing(money: Money) -> None:
    charge = a_charge()
    money.models.chains["both"] = ("smart", "cheap")
    money.servers.behave = lambda model, _call, _sink: (
        ProviderError("bad-key", "no such key") if model == "smart" else said("from the other")
    )
    answer = await money.thinking.ask(question(model="both"), charge, "k")
    assert answer.reply.text == "from the other"
    rows = await money.calls(charge.organization)
    assert [(row["outcome"], row["error"], row["cost_nano"], row["attempt"]) for row in rows] == [
        ("failed", "provider-bad-key", 0, 1),
        ("ok", None, PER_TOKEN, 2),
    ]


async def test_an_answer_that_broke_off_may_have_been_paid(money: Money) -> None:
    charge = a_charge()
    money.servers.behave = lambda _model, _call, _sink: ProviderError("timeout", "too slow", tokens_paid=True)
    with pytest.raises(Problem):
        await money.thinking.ask(question(), charge, "k")
    (row,) = await money.calls(charge.organization)
    assert (row["outcome"], row["cost_nano"]) == ("failed", 10 * PER_TOKEN)


async def test_a_call_that_nobody_wants_any_more_is_cancelled_and_charged(money: Money) -> None:
    charge = a_charge()
    money.servers.gate = asyncio.Event()
    two = [asyncio.create_task(money.thinking.ask(question(), charge, "k")) for _ in range(2)]
    await until(lambda: bool(money.servers.asked))
    two[0].cancel()
    await asyncio.wait([two[0]])
    assert money.servers.abandoned == 0
    two[1].cancel()
    await asyncio.wait(two)
    await money.thinking.close()
    assert money.servers.abandoned == 1
    (row,) = await money.calls(charge.organization)
    assert (row["outcome"], row["cost_nano"]) == ("cancelled", 10 * PER_TOKEN)


async def test_what_still_waited_for_its_turn_costs_nothing(url: str) -> None:
    charge = a_charge()
    async with a_replica(url, places=1) as money:
        money.servers.gate = asyncio.Event()
        first = asyncio.create_task(money.thinking.ask(question(), charge, "k1"))
        await until(lambda: bool(money.servers.asked))
        before = waiting_for_places()
        second = asyncio.create_task(money.thinking.ask(question(), charge, "k2"))
        await until(lambda: waiting_for_places() > before)
        second.cancel()
        await asyncio.wait([second])
        money.servers.gate.set()
        await first
        await money.thinking.close()
        rows = await money.calls(charge.organization)
    assert [(row["key"], row["outcome"], row["cost_nano"]) for row in rows] == [
        ("k1", "ok", 10 * PER_TOKEN),
        ("k2", "cancelled", 0),
    ]


async def test_an_answer_that_was_kept_is_free_and_on_the_record(money: Money) -> None:
    charge, call = a_charge(), question().model_copy(update={"cacheable": True, "temperature": 0.0})
    costs = [(await money.thinking.ask(call, charge, key)).cost for key in ("k1", "k2", "k2")]
    assert costs == [10 * PER_TOKEN, 0, 0]
    assert len(money.servers.asked) == 1
    rows = await money.calls(charge.organization)
    assert [(row["outcome"], row["cost_nano"], row["reserved_nano"]) for row in rows] == [
        ("ok", 10 * PER_TOKEN, 10 * PER_TOKEN),
        ("cached", 0, 0),
    ]


async def test_who_streams_is_charged_for_what_was_heard(money: Money) -> None:
    charge, heard = a_charge(), Heard()
    money.servers.gate = asyncio.Event()
    asking = asyncio.create_task(money.thinking.ask(question(), charge, "k", sink=heard))
    await until(lambda: bool(heard.text))
    asking.cancel()
    await asyncio.wait([asking])
    await money.thinking.close()
    (row,) = await money.calls(charge.organization)
    assert (heard.text, row["outcome"], row["output"]) == ("half ", "cancelled", len("half "))


async def test_what_a_provider_does_not_count_is_charged_as_much_as_it_may_be(money: Money) -> None:
    charge = a_charge()
    money.servers.behave = lambda _model, _call, _sink: ModelReply(text="sixteen bytes ..")
    answer = await money.thinking.ask(question(max_tokens=100), charge, "k")
    assert answer.cost == 16 * PER_TOKEN


async def test_a_service_that_stops_says_so_to_whoever_waits(money: Money) -> None:
    charge = a_charge()
    money.servers.gate = asyncio.Event()
    asking = asyncio.create_task(money.thinking.ask(question(), charge, "k"))
    await until(lambda: bool(money.servers.asked))
    await money.thinking.close()
    with pytest.raises(Unavailable):
        await asking


async def test_the_database_itself_keeps_organizations_apart(money: Money) -> None:
    charge = a_charge()
    async with money.database.tenant(charge.organization) as conn:
        budgets = BudgetRepository(conn, charge.organization)
        new = NewBudget.model_validate({"name": "All", "scope": {"kind": "organization"}, "limit": "1"})
        budget = await budgets.find(await budgets.add(new))
        assert budget is not None
        await budgets.top_up(budget, charge.organization, NewTopUp(amount=Decimal(1), reason="More"), "me")
    await money.thinking.ask(question(), charge, "k")
    for table in ("model_calls", "model_replies", "budgets", "budget_balances", "budget_top_ups"):
        name = sql.Identifier(table)
        async with money.database.tenant(new_id("org")) as stranger:
            seen = await (await stranger.execute(sql.SQL("SELECT FROM {}").format(name))).fetchall()
            deleted = await stranger.execute(sql.SQL("DELETE FROM {}").format(name))
            assert (len(seen), deleted.rowcount) == (0, 0), table
        async with money.database.tenant(charge.organization) as owner:
            seen = await (await owner.execute(sql.SQL("SELECT FROM {}").format(name))).fetchall()
            assert len(seen) == 1, table


def waiting_for_places() -> float:
    return REGISTRY.get_sample_value("crewmesh_model_calls_waiting") or 0.0


class Heard:
    def __init__(self) -> None:
        self.text = ""

    def add(self, text: str) -> None:
        self.text += text

    def restart(self) -> None:
        self.text = ""
