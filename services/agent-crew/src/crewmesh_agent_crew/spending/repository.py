"""The SQL of the ledger. What must be one step is a function of the database: see the migration 0003_money.sql."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import LiteralString, cast

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.budgets.scopes import scopes_of
from crewmesh_agent_crew.models.calls import ModelReply
from crewmesh_agent_crew.spending.models import Attempt, Began, Begun, Done, End, Refused, Settled, Switch, UnderWay

_BEGIN = "SELECT begin_model_call(%s, %s, %s, %s, %s) AS began"
_END = "SELECT end_model_call(%s, %s, %s) AS ended"
_EXTEND = """
UPDATE model_calls SET until = now() + %s * interval '1 second' WHERE outcome = 'reserved' AND id = ANY(%s)
"""
_OVERDUE = "SELECT id, org_id FROM model_calls WHERE outcome = 'reserved' AND until < now() LIMIT 100"
_ANSWERED = "SELECT reply, cost_nano, request_hash FROM model_replies WHERE org_id = %s AND key = %s"


class LedgerRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def begin(
        self, attempt: Attempt, *, lease_seconds: float, may_switch: bool
    ) -> tuple[Began, Sequence[JsonObject]]:
        """Whether it may be asked; and what happened to budgets for the first time."""
        kinds, ids = zip(*scopes_of(attempt.charge), strict=True)
        parameters = [Jsonb(_call_row(attempt)), list(kinds), list(ids), lease_seconds, may_switch]
        began = await self._value(_BEGIN, parameters, "began")
        return _began(began), cast("list[JsonObject]", began.get("told", []))

    async def end(self, attempt: Attempt, end: End) -> tuple[Settled | None, Sequence[JsonObject]]:
        """What stands as the answer, if this one has one; and what happened to budgets for the first time."""
        reply = None if end.reply is None else Jsonb(end.reply.model_dump(mode="json"))
        ended = await self._value(_END, [Jsonb(_end_row(attempt, end)), attempt.request_hash, reply], "ended")
        told = cast("list[JsonObject]", ended["told"])
        if "other" in ended:
            return Settled(ModelReply.model_validate(ended["other"]), cast(int, ended["cost"])), told
        return None if end.reply is None else Settled(end.reply, end.cost), told

    async def answered(self, organization: str, key: str) -> Done | None:
        row = await (await self._connection.execute(_ANSWERED, [organization, key])).fetchone()
        if row is None:
            return None
        return Done(ModelReply.model_validate(row["reply"]), row["cost_nano"], row["request_hash"])

    async def extend(self, calls: Collection[str], *, lease_seconds: float) -> None:
        await self._connection.execute(_EXTEND, [lease_seconds, list(calls)])

    async def overdue(self) -> list[tuple[str, str]]:
        """Calls whose askers are gone, and whose they are."""
        return [(row["id"], row["org_id"]) for row in await (await self._connection.execute(_OVERDUE)).fetchall()]

    async def give_up(self, call: str) -> Sequence[JsonObject]:
        """What happened to budgets for the first time."""
        cursor = await self._connection.execute("SELECT give_up_model_call(%s) AS told", [call])
        row = await cursor.fetchone()
        return [] if row is None else cast("list[JsonObject]", row["told"])

    async def _value(self, query: LiteralString, parameters: Sequence[object], name: str) -> JsonObject:
        row = await (await self._connection.execute(query, parameters)).fetchone()
        if row is None:
            raise LookupError(f"{name}: a function gave no row")
        return cast(JsonObject, row[name])


def _began(began: JsonObject) -> Began:
    match began:
        case {"balances": _}:
            return Begun()
        case {"done": reply, "cost": int(cost), "request_hash": str(request_hash)}:
            return Done(ModelReply.model_validate(reply), cost, request_hash)
        case {"under_way": _}:
            return UnderWay()
        case {"switch": str(model)}:
            return Switch(model)
        case {"refused": list(budgets)}:
            return Refused(tuple(cast("list[JsonObject]", budgets)))
        case _:
            raise ValueError(f"begin_model_call answered {sorted(began)}")


def _call_row(attempt: Attempt) -> JsonObject:
    charge = attempt.charge
    return {
        "id": attempt.id,
        "org_id": charge.organization,
        "key": attempt.key,
        "attempt": attempt.number,
        "workflow": charge.workflow,
        "run": charge.run,
        "step": charge.step,
        "crew_run": charge.crew_run,
        "crew": charge.crew,
        "agent": charge.agent,
        "conversation": charge.conversation,
        "user_id": charge.user,
        "key_id": charge.api_key,
        "teams": [*sorted(charge.teams)],
        "provider": attempt.provider,
        "model": attempt.model,
        "price_version": attempt.price_version,
        "reserved_nano": attempt.worst,
        **dict.fromkeys(("input", "output", "cached", "written", "cost_nano"), 0),
    }


def _end_row(attempt: Attempt, end: End) -> JsonObject:
    return {
        "id": attempt.id,
        "outcome": end.outcome,
        "cost_nano": end.cost,
        "input": end.tokens.input,
        "output": end.tokens.output,
        "cached": end.tokens.cached,
        "written": end.tokens.written,
        "latency_ms": round(end.seconds * 1000),
        "error": end.error,
    }
