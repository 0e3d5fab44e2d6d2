"""The books: every balance is the sum of its calls, also when old calls are forgotten; a tampered one is found."""

from __future__ import annotations

from decimal import Decimal

from crewmesh_agent_crew.budgets.repository import BudgetRepository
from crewmesh_agent_crew.budgets.schemas import NewBudget
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.spending.bookkeeping import Bookkeeping
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.metrics import MISMATCH
from crewmesh_agent_crew.spending.models import Attempt
from crewmesh_agent_crew.spending.retention import FORGOTTEN_BY_AGE
from crewmesh_agent_crew.spending.service import Ledger
from crewmesh_kit.owned_data.forgetting import Forgetting

from .harness import Running
from .money import question

# No period: a month may end between two calls.
_EVERYTHING = NewBudget.model_validate(
    {"name": "All", "scope": {"kind": "organization"}, "period": "total", "limit": "100"}
)
_EVERY_RUN = NewBudget.model_validate({"name": "Runs", "scope": {"kind": "run"}, "period": "total", "limit": "1"})


async def spend(service: Running) -> None:
    """Two calls that were answered and one under way, of two budgets."""
    async with service.database.tenant(service.organization) as conn:
        for budget in (_EVERYTHING, _EVERY_RUN):
            await BudgetRepository(conn, service.organization).add(budget)
    charge = Charge(service.organization, run="run_1")
    thinking, ledger = service.resources.get(Thinking), service.resources.get(Ledger)
    for key in ("k1", "k2"):
        await thinking.ask(question(model="default"), charge, key)
    await ledger.begin(Attempt(charge, "k3", "h", "acme", "dear", "1", worst=10), may_switch=True)
    await service.database.statement(
        "UPDATE model_calls SET cost_nano = 7 WHERE org_id = %(org)s AND outcome = 'ok'", {"org": service.organization}
    )
    await service.database.statement(
        "UPDATE budget_balances SET spent = 14 WHERE org_id = %(org)s", {"org": service.organization}
    )


async def wrong(service: Running) -> list[tuple[str, int, Decimal]]:
    found = await service.resources.get(Bookkeeping).compare()
    async with service.database.tenant(service.organization) as conn:
        own = {row["id"] for row in await (await conn.execute("SELECT id FROM budgets")).fetchall()}
    return sorted((row["scope_id"], row["spent"], row["booked"]) for row in found if row["budget"] in own)


async def test_a_tampered_balance_is_found(service: Running) -> None:
    await spend(service)
    assert await wrong(service) == []
    assert MISMATCH.collect()
    await service.database.statement(
        "UPDATE budget_balances SET spent = 3 WHERE org_id = %(org)s AND scope_id = 'run_1'",
        {"org": service.organization},
    )
    assert await wrong(service) == [("run_1", 3, Decimal(14))]
    (gauge,) = MISMATCH.collect()
    assert gauge.samples[0].value >= 1


async def test_what_is_forgotten_stays_spent(service: Running) -> None:
    await spend(service)
    async with service.database.tenant(service.organization) as conn:
        await conn.execute(
            "UPDATE model_calls SET at = at - interval '41 days' WHERE key IN ('k1', 'k3')",
        )
        await conn.execute(
            "INSERT INTO retention_policies (org_id, kind, days) VALUES (%s, 'model-calls', 40)",
            [service.organization],
        )
    forgetting = Forgetting(service.database, FORGOTTEN_BY_AGE)
    # The one that is under way stays, however old.
    assert await forgetting.would_forget(service.organization, "model-calls", 40) == 1
    await forgetting.what_is_too_old()
    async with service.database.tenant(service.organization) as conn:
        calls = await (await conn.execute("SELECT key FROM model_calls ORDER BY key")).fetchall()
        balances = await (await conn.execute("SELECT spent, forgotten FROM budget_balances")).fetchall()
        await conn.execute("UPDATE model_calls SET at = now() WHERE key = 'k3'")
    assert [call["key"] for call in calls] == ["k2", "k3"]
    assert [(row["spent"], row["forgotten"]) for row in balances] == [(14, 7), (14, 7)]
    assert await wrong(service) == []


async def test_old_answers_are_forgotten(service: Running) -> None:
    await spend(service)
    async with service.database.tenant(service.organization) as conn:
        await conn.execute("UPDATE model_replies SET at = at - interval '31 days' WHERE key = 'k1'")
    await service.resources.get(Bookkeeping).forget()
    async with service.database.tenant(service.organization) as conn:
        left = await (await conn.execute("SELECT key FROM model_replies")).fetchall()
    assert [row["key"] for row in left] == ["k2"]
    charge = Charge(service.organization, run="run_1")
    assert not (await service.resources.get(Thinking).ask(question(model="default"), charge, "k1")).repeated


async def test_what_work_that_is_not_over_was_answered_is_kept(service: Running) -> None:
    """It may be played again, and must not pay again."""
    begun = await service.post("/v1/crews/answer-desk/runs", {"inputs": {"question": "What?"}})
    run = begun.json()["id"]
    assert (await service.resources.get(CrewRuns).wait(service.organization, run, 300)).status == "completed"
    async with service.database.tenant(service.organization) as conn:
        await conn.execute("UPDATE model_replies SET at = at - interval '31 days'")

        async def replies_after(ended: bool) -> int:
            ends = "ended_at = now(), status = 'completed', due_at = NULL" if ended else "ended_at = NULL"
            await conn.execute(f"UPDATE crew_runs SET {ends} WHERE id = '{run}'".encode())
            for forgettable in FORGOTTEN_BY_AGE:
                await forgettable.forget(conn, 30)
            row = await (await conn.execute("SELECT count(*) AS n FROM model_replies")).fetchone()
            return 0 if row is None else row["n"]

        assert [await replies_after(ended=False), await replies_after(ended=True)] == [2, 0]
