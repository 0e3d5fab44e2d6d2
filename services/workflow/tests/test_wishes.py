"""What is asked of a run at the moments in which it is easily lost: before it begins, while it rests, while it ends."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SearchRequest, SearchResult
from crewmesh_kit.errors import GatewayTimeout
from crewmesh_testkit import polling
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.commits import Commit, JournalEvent, Rest, Wish
from crewmesh_workflow.engine.outcome import Done, DriveInput, Sleep

from services.workflow.tests.conftest import Bench

EMIT: JsonObject = {"id": "tell", "kind": "emit", "type": "com.example.told"}


def search(id_: str, **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": id_, **more}


def edge(from_: str, to: str) -> JsonObject:
    return {"from": from_, "to": to}


class Searches:
    """What was searched for. What is held takes until it is let go."""

    def __init__(self, bench: Bench, *, held: str = "", failing: str = "") -> None:
        self.asked: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self._held, self._failing = held, failing
        bench.sidecar.answer(SEARCH, self._answer)

    async def _answer(self, request: SearchRequest) -> SearchResult:
        self.asked.append(request.query)
        if request.query == self._held:
            self.begun.set()
            await self.go.wait()
        if request.query == self._failing:
            raise GatewayTimeout("later")
        return SearchResult(hits=())


async def ask(bench: Bench, what: Literal["pause", "cancel", "resume"], run: str) -> bool:
    async with bench.database.tenant(ORGANIZATION) as conn:
        return await getattr(bench.parts.control, what)(conn, run)


async def take_over(bench: Bench, run: str) -> object:
    """As a driver would that nobody has asked for before."""
    row = await bench.row(run)
    return await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"] + 1, epoch=row["epoch"]))


async def types(bench: Bench, run: str) -> list[str]:
    return [type_ for _, type_, _ in await bench.events(run)]


class TestCancelledBeforeItGoesOn:
    async def test_a_run_that_nobody_has_begun(self, idle: Bench) -> None:
        searches = Searches(idle)
        run = await idle.start(await idle.save([EMIT, search("a")], [edge("tell", "a")]))
        assert await ask(idle, "cancel", run)
        assert await take_over(idle, run) == Done()
        assert (await idle.row(run))["status"] == "cancelled"
        assert searches.asked == []
        assert "com.example.told" not in await idle.told()

    async def test_a_run_that_was_paused_before_an_effect(self, bench: Bench) -> None:
        searches = Searches(bench, held="a")
        run = await bench.start(await bench.save([search("a"), search("b")], [edge("a", "b")]))
        await searches.begun.wait()
        await ask(bench, "pause", run)
        bench.parts.leases.look()
        await bench.parts.leases.extend()
        searches.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "paused"
        assert await ask(bench, "cancel", run)
        assert await take_over(bench, run) == Done()
        assert (await bench.row(run))["status"] == "cancelled"
        assert searches.asked == ["a"]
        steps = await bench.steps(run)
        assert {path: step["status"] for path, step in steps.items()} == {"a": "completed", "b": "cancelled"}

    async def test_what_was_done_is_undone_all_the_same(self, bench: Bench) -> None:
        searches = Searches(bench, held="b")
        undo: JsonObject = {"do": search("u")}
        run = await bench.start(await bench.save([search("a", compensate=undo), search("b")], [edge("a", "b")]))
        await searches.begun.wait()
        assert await ask(bench, "cancel", run)
        # Somebody else takes it over before its worker has looked.
        assert await take_over(bench, run) == Done()
        assert (await bench.row(run))["status"] == "cancelled"
        assert searches.asked == ["a", "b", "u"]

    async def test_a_run_whose_time_is_over(self, idle: Bench) -> None:
        searches = Searches(idle)
        workflow = await idle.save([search("a")], settings={"timeout_seconds": 3_600})
        run = await idle.start(workflow)
        async with idle.database.system() as conn:
            await conn.execute("UPDATE runs SET deadline_at = now() WHERE id = %s", [run])
        assert await take_over(idle, run) == Done()
        row = await idle.row(run)
        assert (row["status"], row["error"]["type"]) == ("failed", "run-timed-out")
        assert searches.asked == []


async def test_a_cancelled_run_rests_while_its_compensation_waits(bench: Bench) -> None:
    searches = Searches(bench, held="b", failing="u")
    undo: JsonObject = {"do": search("u", retry={"backoff_seconds": 100})}
    run = await bench.start(await bench.save([search("a", compensate=undo), search("b")], [edge("a", "b")]))
    await searches.begun.wait()
    assert await ask(bench, "cancel", run)
    await bench.parts.leases.extend()
    async with asyncio.timeout(60):
        await bench.settle()
    row = await bench.row(run)
    assert (row["status"], row["asked"]) == ("waiting", "cancel")
    told = await types(bench, run)
    assert told.count("run.waiting") == 1

    # Whoever takes it up again finds that it was asked to end, and rests as well.
    (drive,) = bench.scheduled
    assert isinstance(await bench.parts.engine.advance(drive), Sleep)
    assert searches.asked == ["a", "b", "u"]
    assert not await ask(bench, "pause", run)


class TestAsRestsAreWritten:
    """Something is asked for between the worker's last look and the commit with which it lets the run go."""

    PAUSED = Commit(events=[JournalEvent("run.paused", {})], rest=Rest(paused=True), obeyed="pause")

    async def rest(self, idle: Bench, asked: Wish | None, commit: Commit) -> tuple[bool, str, str | None, list[str]]:
        run = await idle.start(await idle.save([search("a")]))
        row = await idle.row(run)
        taken = await idle.parts.journal.acquire(DriveInput(run=run, driver=1, epoch=row["epoch"]))
        assert taken is not None
        async with idle.database.system() as conn:
            await conn.execute("UPDATE runs SET asked = %s WHERE id = %s", [asked, run])
        ack = await idle.parts.journal.commit(taken.run, commit)
        row = await idle.row(run)
        assert row["due_at"] is None or row["due_in"] > 0
        return ack.rests, row["status"], row["asked"], [type_ for type_ in await types(idle, run) if "run.p" in type_]

    async def test_a_pause_that_is_still_wanted(self, idle: Bench) -> None:
        assert await self.rest(idle, "pause", self.PAUSED) == (True, "paused", None, ["run.paused"])

    @pytest.mark.parametrize("asked", ["cancel", None])
    async def test_a_pause_after_which_something_else_was_asked_for(self, idle: Bench, asked: Wish | None) -> None:
        assert await self.rest(idle, asked, self.PAUSED) == (False, "running", asked, [])

    @pytest.mark.parametrize(
        ("asked", "obeyed", "rests"),
        [(None, None, True), ("cancel", "cancel", True), ("cancel", None, False), ("pause", None, False)],
    )
    async def test_a_wait(self, idle: Bench, asked: Wish | None, obeyed: Wish | None, rests: bool) -> None:
        waits = Commit(rest=Rest(due_in=60.0), obeyed=obeyed)
        assert await self.rest(idle, asked, waits) == (rests, "waiting" if rests else "running", asked, [])


async def test_a_run_that_waits_and_is_cancelled_is_not_paused_any_more(bench: Bench) -> None:
    run = await bench.start(await bench.save([{"id": "d", "kind": "delay", "seconds": 3_600}]))
    assert await ask(bench, "cancel", run)
    assert not await ask(bench, "pause", run)
    await bench.settle()
    assert await take_over(bench, run) == Done()
    assert (await bench.row(run))["status"] == "cancelled"


async def test_what_a_pause_held_back_begins_when_it_is_taken_back(bench: Bench) -> None:
    searches = Searches(bench, held="long")
    run = await bench.start(await bench.save([search("long"), search("a"), search("b")], [edge("a", "b")]))
    await searches.begun.wait()

    async def asked_for(what: str) -> None:
        async def there() -> bool:
            return what in searches.asked

        await polling.until(there, seconds=60, what=f"{what} to be searched for", every=0.01)

    await asked_for("a")
    await ask(bench, "pause", run)
    await bench.parts.leases.extend()
    await ask(bench, "resume", run)
    await bench.parts.leases.extend()
    await asked_for("b")
    searches.go.set()
    await bench.settle()
    assert (await bench.row(run))["status"] == "completed"


async def test_a_test_run_tells_nobody_and_starts_nothing(bench: Bench) -> None:
    tried = await bench.save([EMIT])
    await bench.save([EMIT], triggers=[{"kind": "run_ended", "id": "after", "workflow": tried}])
    run = await bench.start(tried, test=True)
    assert (await bench.row(run))["status"] == "completed"
    assert "com.example.told" not in await bench.told()
    assert await bench.database.statement("SELECT * FROM ended_runs") == []
    await bench.start(tried, event_id="e2")
    assert "com.example.told" in await bench.told()
    assert len(await bench.database.statement("SELECT * FROM ended_runs")) == 1
