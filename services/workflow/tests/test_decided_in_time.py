"""Waits whose time is over in the moment in which something comes for them: what is acknowledged counts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SearchRequest, SearchResult
from crewmesh_kit.db.database import Database
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_testkit.polling import until
from crewmesh_workflow.engine.journal_sql import EXPIRE, HOLD

from services.workflow.tests.conftest import Bench

YES: JsonObject = {"approved": True, "data": None, "decisions": []}
EVENT: JsonObject = {"event": {"type": "t", "data": {}}}
ASK: JsonObject = {"id": "ask", "kind": "approval", "title": "?", "expires_seconds": 3600}
HEAR: JsonObject = {"id": "ask", "kind": "wait_event", "type": "t", "timeout_seconds": 3600}


@dataclass
class Clock:
    """The one that workers read."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("crewmesh_workflow.engine.moments.time", made)
    return made


@dataclass
class AtWork:
    """A run with a wait and, beside it, an effect that keeps its worker at work."""

    bench: Bench
    clock: Clock
    effect: asyncio.Event = field(default_factory=asyncio.Event)
    run: str = ""

    async def begin(self, ask: JsonObject, port: str, late: str) -> None:
        begun = asyncio.Event()

        async def search(_: SearchRequest) -> SearchResult:
            begun.set()
            await self.effect.wait()
            return SearchResult(hits=())

        self.bench.sidecar.answer(SEARCH, search)
        ways: list[JsonValue] = [{"id": id_, "kind": "transform", "output": {}} for id_ in ("in-time", "late")]
        beside: JsonObject = {"id": "s", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"}
        edges: list[JsonValue] = [{"from": "ask", "port": port, "to": "in-time"}]
        edges.append({"from": "ask", "port": late, "to": "late"})
        self.run = await self.bench.start(await self.bench.save([ask, beside, *ways], edges))
        await begun.wait()

    def time_is_over(self) -> None:
        """And the worker notices."""
        self.clock.ahead = 4000.0
        self.effect.set()

    async def ways(self) -> dict[str, str]:
        await self.bench.settle()
        steps = await self.bench.steps(self.run)
        return {id_: steps[id_]["status"] for id_ in ("in-time", "late")}


@pytest.fixture
def at_work(bench: Bench, clock: Clock) -> AtWork:
    return AtWork(bench, clock)


async def somebody_is_held_up(database: Database) -> None:
    async def held_up() -> bool:
        query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await database.statement(query))

    await until(held_up, seconds=60, what="somebody to wait for a lock", every=0.01)


KINDS = pytest.mark.parametrize(
    ("ask", "port", "late", "data"),
    [
        pytest.param(ASK, "approved", "expired", YES, id="a decision"),
        pytest.param(HEAR, "out", "timeout", EVENT, id="an event"),
    ],
)


@KINDS
async def test_what_came_first_counts(at_work: AtWork, ask: JsonObject, port: str, late: str, data: JsonObject) -> None:
    await at_work.begin(ask, port, late)
    bench = at_work.bench
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.arrive(conn, at_work.run, "ask", data)
        at_work.time_is_over()
        await somebody_is_held_up(bench.database)
    assert await at_work.ways() == {"in-time": "completed", "late": "skipped"}


@KINDS
async def test_nothing_comes_once_the_time_is_found_to_be_over(
    at_work: AtWork, ask: JsonObject, port: str, late: str, data: JsonObject
) -> None:
    await at_work.begin(ask, port, late)
    bench = at_work.bench

    async def arrive() -> bool:
        async with bench.database.tenant(ORGANIZATION) as conn:
            return await bench.parts.control.arrive(conn, at_work.run, "ask", data)

    row = (await bench.database.statement("SELECT id FROM waits"))[0]
    async with bench.database.system() as conn:
        over = {"run": at_work.run, "epoch": 1, "waits": [row["id"]]}
        await conn.execute(HOLD, over)
        await conn.execute(EXPIRE, over)
        arriving = asyncio.create_task(arrive())
        await somebody_is_held_up(bench.database)
    assert not await arriving
    # The worker that closed it may have died right then: whoever goes on finds it closed.
    at_work.time_is_over()
    assert await at_work.ways() == {"in-time": "skipped", "late": "completed"}
