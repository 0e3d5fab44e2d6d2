"""Looking after the books: balances are compared with the ledger, and what nobody will ask for again is forgotten.

Every balance is the sum of the calls that name it. Both are written in one transaction, so a difference is a fault of
ours or somebody's own hand in the database; it is told by a metric and in the log, and mended by nobody but people.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from psycopg.rows import DictRow

from crewmesh_agent_crew.settings import Settings
from crewmesh_agent_crew.spending.metrics import MISMATCH
from crewmesh_agent_crew.spending.retention import OF_ENDED_WORK

_EVERY_SECONDS = 3_600
# Balances that go further back are not compared: it would mean to read years.
_COMPARED_DAYS = 62
_ENDED_RUNS_DAYS = 90

_TOUCHED = """
SELECT s.org_id, min(greatest(s.period_start, b.created_at)) AS since
FROM budget_balances s JOIN budgets b ON b.id = s.budget
WHERE s.touched_at > now() - interval '2 days'
  AND greatest(s.period_start, b.created_at) > now() - %(days)s * interval '1 day'
GROUP BY s.org_id
"""
_MISMATCHES = """
WITH booked AS (
    SELECT balance AS id, coalesce(sum(cost_nano) FILTER (WHERE outcome <> 'reserved'), 0) AS spent,
           coalesce(sum(reserved_nano) FILTER (WHERE outcome = 'reserved'), 0) AS reserved
    FROM model_calls, unnest(balances) AS balance WHERE org_id = %(org)s AND at >= %(since)s GROUP BY balance
)
SELECT s.budget, s.scope_id, s.spent, s.reserved, coalesce(booked.spent, 0) + s.forgotten AS booked,
       coalesce(booked.reserved, 0) AS booked_reserved
FROM budget_balances s JOIN budgets b ON b.id = s.budget LEFT JOIN booked ON booked.id = s.id
WHERE s.org_id = %(org)s AND greatest(s.period_start, b.created_at) >= %(since)s
  AND (s.spent <> coalesce(booked.spent, 0) + s.forgotten OR s.reserved <> coalesce(booked.reserved, 0))
"""
_OLD_REPLIES = f"""
DELETE FROM model_replies WHERE (org_id, key) IN (
    SELECT org_id, key FROM model_replies WHERE at < now() - %s * interval '1 day' AND ({OF_ENDED_WORK}) LIMIT 5000
)
"""
_ENDED_RUNS = """
DELETE FROM budget_balances s USING budgets b
WHERE b.id = s.budget AND b.scope_kind = 'run' AND s.reserved = 0 AND s.touched_at < now() - %s * interval '1 day'
"""

log = get_logger(__name__)


class Bookkeeping:
    def __init__(self, database: Database, *, reply_days: int) -> None:
        self._database = database
        self._reply_days = reply_days

    async def keep(self) -> None:
        """Once an hour, replicas at different moments."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))
            try:
                await self.compare()
                await self.forget()
            except DatabaseUnavailable as problem:
                log.warning("the books are not looked after right now", reason=problem.detail)

    async def compare(self) -> list[DictRow]:
        """Balances that are not what the ledger says."""
        wrong: list[DictRow] = []
        touched = await self._database.statement(_TOUCHED, {"days": _COMPARED_DAYS})
        for row in touched:
            async with self._database.tenant(row["org_id"]) as conn:
                cursor = await conn.execute(_MISMATCHES, {"org": row["org_id"], "since": row["since"]})
                wrong += await cursor.fetchall()
        for each in wrong:
            log.error("a budget's balance is not the sum of its calls", **each)
        MISMATCH.set(len(wrong))
        return wrong

    async def forget(self) -> int:
        """Answers that nobody will ask for again, and the balances of runs that ended long ago."""
        total = 0
        while True:
            async with self._database.system() as conn:
                forgotten = (await conn.execute(_OLD_REPLIES, [self._reply_days])).rowcount
            total += forgotten
            if forgotten == 0:
                break
        async with self._database.system() as conn:
            return total + (await conn.execute(_ENDED_RUNS, [_ENDED_RUNS_DAYS])).rowcount


@asynccontextmanager
async def open_bookkeeping(resources: Resources) -> AsyncGenerator[Bookkeeping]:
    yield Bookkeeping(resources.get(Database), reply_days=resources.get(Settings).spending.reply_days)


async def keep_the_books(resources: Resources) -> None:
    await resources.get(Bookkeeping).keep()
