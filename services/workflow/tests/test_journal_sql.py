"""The journal's statements, as psycopg and PostgreSQL take them."""

from __future__ import annotations

import re
from itertools import count

import pytest
from crewmesh_kit.db.database import Database
from crewmesh_workflow.engine.journal_sql import COMMIT, COMMIT_ALL, START
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH

PARAMETER = re.compile(r"%\(\w+\)s")


@pytest.mark.parametrize("statement", [COMMIT, COMMIT_ALL, START])
def test_a_statement_is_short_enough_to_be_remembered(statement: str) -> None:
    assert len(statement) <= MAX_CACHED_STATEMENT_LENGTH


@pytest.mark.parametrize("statement", [COMMIT, COMMIT_ALL])
async def test_a_commit_looks_at_its_own_runs_alone(database: Database, statement: str) -> None:
    """However many others are at work: there is an index of those, and it must not look tempting."""
    numbers = count(1)
    numbered = PARAMETER.sub(lambda _: f"${next(numbers)}", statement)
    async with database.system() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")  # of a small table all would be read, and rightly so
        cursor = await conn.execute(f"EXPLAIN (GENERIC_PLAN) {numbered}".encode())
        plan = "\n".join(row["QUERY PLAN"] for row in await cursor.fetchall())
    assert "on runs_pkey" in plan
    assert "runs_at_work" not in plan
