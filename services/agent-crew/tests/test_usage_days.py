"""Days that are summed up say what the ledger says: whatever was asked when, forgotten, or ended after all."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast, get_args

import pytest
from crewmesh_agent_crew.main import MIGRATIONS
from crewmesh_agent_crew.models.calls import Tokens
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.hidden import Hidden
from crewmesh_agent_crew.spending.models import Attempt, End
from crewmesh_agent_crew.spending.repository import LedgerRepository
from crewmesh_agent_crew.usage.folding import Folding
from crewmesh_agent_crew.usage.models import Bucket, By, Question, Span, column_of
from crewmesh_agent_crew.usage.repository import STEPS, UsageRepository
from crewmesh_kit.db.database import Database, persistently
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

DAYS = 6
NAMES: tuple[By, ...] = get_args(By)
BUCKETS: tuple[Bucket | None, ...] = (None, *get_args(Bucket))
OUTCOMES = ("ok", "ok", "ok", "failed", "unknown", "cached", "cancelled", "reserved")
_ADD = "INSERT INTO model_calls SELECT * FROM jsonb_populate_record(NULL::model_calls, %s)"

# By bucket and names: calls, tokens in, cached and out, cost, and how many were how fast.
Sums = tuple[int, int, int, int, int, Mapping[int, int]]
Groups = dict[tuple[object, ...], Sums]


@dataclass
class Books:
    """The calls of one organization, and chance."""

    database: Database
    seed: int
    organization: str

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    async def add(self, calls: int) -> None:
        async with self.database.tenant(self.organization) as conn:
            for _ in range(calls):
                await conn.execute(_ADD, [Jsonb(self._call())])

    def _call(self) -> dict[str, object]:
        def one_of(name: str, most: int = 2) -> str | None:
            number = self.chance.randint(0, most)
            return f"{name}-{number}" if number else None

        outcome = self.chance.choice(OUTCOMES)
        return {
            **{name: one_of(name) for name in ("workflow", "run", "step", "crew_run", "crew", "agent")},
            **{name: one_of(name) for name in ("conversation", "user_id", "key_id")},
            **{name: self.chance.randint(0, 10_000) for name in ("input", "output", "cached", "written")},
            "teams": self.chance.choice([[], ["team-1"], ["team-1", "team-2"]]),
            "provider": "acme",
            "model": self.chance.choice(["smart", "cheap"]),
            "id": new_id("call"),
            "org_id": self.organization,
            "key": new_id("k"),
            "attempt": 1,
            "price_version": "1",
            "cost_nano": self.chance.randint(0, 10**12),
            "reserved_nano": 10**12,
            "latency_ms": self.chance.randint(0, 5_000) if outcome == "ok" else None,
            "outcome": outcome,
            "at": (datetime.now(UTC) - timedelta(days=self.chance.uniform(0, DAYS))).isoformat(),
            "balances": [],
        }

    async def ledger(self, conn: AsyncConnection[DictRow]) -> list[DictRow]:
        return await (await conn.execute("SELECT * FROM model_calls ORDER BY id")).fetchall()

    async def forget(self, calls: int) -> None:
        async with self.database.tenant(self.organization) as conn:
            chosen = self.chance.sample(rows := await self.ledger(conn), min(calls, len(rows)))
            await conn.execute("DELETE FROM model_calls WHERE id = ANY(%s)", [[row["id"] for row in chosen]])

    async def end_after_all(self) -> None:
        """Of those that nobody knew the end of, one, in the way that its asker does."""
        async with self.database.tenant(self.organization) as conn:
            for row in [row for row in await self.ledger(conn) if row["outcome"] == "unknown"][:1]:
                attempt = Attempt(
                    Charge(self.organization), row["key"], "h", "acme", "smart", "1", 10**12, id=row["id"]
                )
                await LedgerRepository(conn).end(attempt, End("ok", 5, Tokens(input=7, output=3), 1.5))

    def question(self) -> Question:
        """Its ends are anywhere, now and then at midnight."""
        now = datetime.now(UTC)
        hours = sorted(self.chance.uniform(0, DAYS * 24 + 2) for _ in range(2))
        start, end = (now - timedelta(hours=each) for each in reversed(hours))
        if self.chance.random() < 0.3:
            start, end = (
                each.replace(hour=0, minute=0, second=0, microsecond=0) for each in (start, end + timedelta(days=1))
            )
        by = tuple(self.chance.sample(NAMES, self.chance.randint(0, 2)))
        where: dict[By, str] = {}
        if self.chance.random() < 0.5:
            name = self.chance.choice(NAMES)
            where[name] = {"model": "smart", "provider": "acme", "outcome": "ok"}.get(name, f"{column_of(name)}-1")
            if name == "team":
                where[name] = "team-1"
        return Question(Span(start, end + timedelta(microseconds=1)), self.chance.choice(BUCKETS), by, where, 10_000)

    async def check(self, questions: int) -> None:
        for _ in range(questions):
            question = self.question()
            async with self.database.tenant(self.organization) as conn:
                await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                found = await UsageRepository(conn, self.organization, Hidden()).sums(question)
                ledger = await self.ledger(conn)
            assert _found(question, found) == _plainly(question, ledger), (self.seed, question)

    async def summed_up(self) -> tuple[int, int]:
        """How many calls the sums of days hold, and how many calls are marked as held."""
        async with self.database.tenant(self.organization) as conn:
            days = await (await conn.execute("SELECT coalesce(sum(calls), 0)::int AS n FROM usage_days")).fetchone()
            marked = await (await conn.execute("SELECT count(summed_at)::int AS n FROM model_calls")).fetchone()
        assert days is not None
        assert marked is not None
        return days["n"], marked["n"]


@pytest.fixture
async def books(crews_database: str) -> AsyncGenerator[Books]:
    await migrate(crews_database, app_id="agent-crew", migrations=MIGRATIONS)
    async with Database.open(crews_database, app_id="agent-crew") as database:
        yield Books(database, random.randrange(2**32), new_id("org"))


async def test_they_say_what_the_ledger_says(books: Books) -> None:
    folding = Folding(books.database, batch=7)
    await books.add(100)
    await books.check(5)
    assert await folding.fold() > 50
    await books.check(25)
    for _ in range(10):
        await books.chance.choice([lambda: books.add(5), lambda: books.forget(3), books.end_after_all, folding.fold])()
        await books.check(4)
        held, marked = await books.summed_up()
        assert held == marked


async def test_several_sum_up_while_others_forget_and_end_and_ask(books: Books) -> None:
    await books.add(100)
    foldings = [Folding(books.database, batch=3) for _ in range(3)]
    for _ in range(5):
        # Who changes the same day at once may stand in each other's way: one of them is turned away, and does it again.
        await asyncio.gather(
            *(folding.fold() for folding in foldings),
            persistently(lambda: books.forget(2)),
            persistently(books.end_after_all),
            books.check(3),
        )
        held, marked = await books.summed_up()
        assert held == marked
    await books.check(10)


async def test_what_is_forgotten_leaves_no_trace(books: Books) -> None:
    await books.add(30)
    await Folding(books.database).fold()
    assert (await books.summed_up())[0] > 0
    await books.forget(30)
    async with books.database.tenant(books.organization) as conn:
        assert await (await conn.execute("SELECT FROM usage_days")).fetchall() == []


async def test_the_day_that_is_not_over_is_read_call_by_call(books: Books) -> None:
    await books.add(30)
    async with books.database.tenant(books.organization) as conn:
        # Wherever midnight is: an hour ahead is in no day that is over.
        await conn.execute("UPDATE model_calls SET at = now() + interval '1 hour'")
    await Folding(books.database).fold()
    assert await books.summed_up() == (0, 0)


def _found(question: Question, rows: Sequence[DictRow]) -> tuple[Sums, Groups]:
    whole, *groups = rows
    told = {(row["bucket"], *(row[by] for by in question.by)): _sums_of(row) for row in groups}
    assert len(told) == len(groups)
    return _sums_of(whole), told


def _sums_of(row: DictRow) -> Sums:
    speeds: Counter[int] = Counter()
    for speed, calls in zip(row["speeds"] or (), row["of_speed"] or (), strict=True):
        if speed is not None:
            speeds[speed] += calls
    return row["calls"], row["input"], row["cached"], row["output"], row["cost"], speeds


def _plainly(question: Question, ledger: Sequence[DictRow]) -> tuple[Sums, Groups]:
    chosen = [
        row
        for row in ledger
        if question.span.start <= row["at"] < question.span.end
        and row["outcome"] != "reserved"
        and all(value in _values(row, by) for by, value in question.where.items())
    ]
    groups: defaultdict[tuple[object, ...], list[DictRow]] = defaultdict(list)
    for row in chosen if question.by or question.bucket else ():
        for key in _keys(question, row):
            groups[key].append(row)
    many = {"run", "step", "crew_run", "conversation"} & set(question.by)
    return _summed(chosen, fast=not many), {key: _summed(rows, fast=not many) for key, rows in groups.items()}


def _keys(question: Question, row: DictRow) -> list[tuple[object, ...]]:
    keys: list[tuple[object, ...]] = [(_start(question.bucket, row["at"]),)]
    for by in question.by:
        keys = [(*key, value) for key in keys for value in _values(row, by)]
    return keys


def _values(row: DictRow, by: By) -> Sequence[object]:
    return (row["teams"] or [None]) if by == "team" else [row[column_of(by)]]


def _start(bucket: Bucket | None, at: datetime) -> datetime | None:
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    match bucket:
        case None:
            return None
        case "hour":
            return at
        case "day":
            return at.replace(hour=0)
        case "month":
            return at.replace(hour=0, day=1)


def _summed(rows: Sequence[DictRow], *, fast: bool) -> Sums:
    speeds = Counter(round(STEPS * math.log(1 + row["latency_ms"])) for row in rows if fast and row["outcome"] == "ok")
    columns = ("input", "cached", "output", "cost_nano")
    return cast(Sums, (len(rows), *(sum(row[column] for row in rows) for column in columns), speeds))
