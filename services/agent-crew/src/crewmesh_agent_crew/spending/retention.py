"""Forgetting records of calls, as organizations want, without budgets losing count."""

from __future__ import annotations

from typing import LiteralString

from crewmesh_kit.owned_data.forgetting import Forgettable, by_age
from psycopg import AsyncConnection
from psycopg.rows import DictRow

# A crew run that is not over may be played again, and must not pay again.
OF_ENDED_WORK: LiteralString = """
NOT EXISTS (SELECT FROM crew_runs r WHERE r.org_id = model_replies.org_id
            AND r.id = split_part(model_replies.key, '/', 1) AND r.ended_at IS NULL)
"""
_COUNT = """
SELECT count(*) AS n FROM model_calls WHERE at < now() - %s * interval '1 day' AND outcome <> 'reserved'
"""
# What is forgotten stays spent: of each balance it is known how much of it has no record any more.
_FORGET = """
WITH gone AS (
    DELETE FROM model_calls WHERE id = ANY(ARRAY(
        SELECT id FROM model_calls WHERE at < now() - %s * interval '1 day' AND outcome <> 'reserved' LIMIT 5000
    )) RETURNING cost_nano, balances
), sums AS (
    SELECT balance, sum(cost_nano)::bigint AS cost FROM gone, unnest(balances) AS balance GROUP BY balance
), locked AS (
    SELECT s.id, sums.cost FROM budget_balances s JOIN sums ON sums.balance = s.id ORDER BY s.id FOR UPDATE OF s
), noted AS (
    UPDATE budget_balances s SET forgotten = s.forgotten + locked.cost FROM locked WHERE locked.id = s.id
)
SELECT count(*) AS n FROM gone
"""


async def _counted(conn: AsyncConnection[DictRow], days: int) -> int:
    row = await (await conn.execute(_COUNT, [days])).fetchone()
    return 0 if row is None else int(row["n"])


async def _forgotten(conn: AsyncConnection[DictRow], days: int) -> int:
    row = await (await conn.execute(_FORGET, [days])).fetchone()
    return 0 if row is None else int(row["n"])


FORGOTTEN_BY_AGE = (
    Forgettable("model-calls", _counted, _forgotten),
    by_age("model-replies", table="model_replies", column="at", and_=OF_ENDED_WORK),
)
