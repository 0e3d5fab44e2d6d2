"""Replicas whose slots are taken: what they have no slot for is free for others, and what they take they advance."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.slots import NoTurnError, Slots

from services.workflow.tests.conftest import Bench, empty, replica

NODE: JsonObject = {"id": "s", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"}


async def found(request: SearchRequest) -> SearchResult:
    return SearchResult(hits=(SearchHit(document="d", title="T", position=0, text="t", score=1.0),))


async def for_ever(request: SearchRequest) -> SearchResult:
    await asyncio.Event().wait()
    return await found(request)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits gives up at once, and what is at work keeps its slot."""
    monkeypatch.setattr("crewmesh_workflow.engine.slots._LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr("crewmesh_workflow.engine.slots._LONGEST_IN_SLOT_SECONDS", 3_600.0)


async def begin(bench: Bench, count: int) -> list[str]:
    workflow = await bench.save([NODE])
    return [await bench.start(workflow, event_id=f"e{number}") for number in range(count)]


@pytest.mark.usefixtures("no_patience")
class TestWaiting:
    async def test_behind_a_run_that_takes_long_the_next_is_given_to_others(self, url: str) -> None:
        async with replica(url, slots=1) as full, replica(url, slots=1) as other:
            await empty(full.database)
            full.sidecar.answer(SEARCH, for_ever)
            other.sidecar.answer(SEARCH, found)
            _, run = await begin(full, 2)
            async with asyncio.timeout(60):
                await full.tasks[1]
            row = await full.row(run)
            assert (row["status"], row["due_in"] <= 0) == ("running", True)
            assert await other.parts.sweeper.sweep() == 1
            await other.settle()
            assert (await full.row(run))["status"] == "completed"
            assert len(other.sidecar.calls) == 1

    async def test_what_is_asked_of_it_meanwhile_is_seen_by_who_takes_it(self, url: str) -> None:
        async with replica(url, slots=1) as full:
            await empty(full.database)
            full.sidecar.answer(SEARCH, for_ever)
            _, run = await begin(full, 2)
            async with full.database.tenant(ORGANIZATION) as conn:
                assert await full.parts.control.cancel(conn, run)
            async with asyncio.timeout(60):
                await full.tasks[1]
            assert await full.parts.sweeper.sweep() == 1
            await full.drive()
            assert (await full.row(run))["status"] == "cancelled"

    async def test_who_waited_too_long_takes_no_room_in_the_queue(self) -> None:
        slots = Slots(1, queue=1)
        async with slots.slot("a"):
            for organization in ("a", "b"):
                with pytest.raises(NoTurnError):
                    await slots.slot(organization).__aenter__()
                assert slots.room()
        assert slots.reserve()
        assert not slots.reserve()


class TestRunsThatTakeLong:
    async def test_they_go_on_and_their_slots_are_for_others(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def held(request: SearchRequest) -> SearchResult:
            if len(bench.sidecar.calls) == 9:
                begun.set()
            await go.wait()
            return await found(request)

        bench.sidecar.answer(SEARCH, held)
        monkeypatch.setattr("crewmesh_workflow.engine.slots._LONGEST_IN_SLOT_SECONDS", 0.0)
        runs = await begin(bench, 9)
        async with asyncio.timeout(60):
            await begun.wait()
        go.set()
        await bench.settle()
        assert {(await bench.row(run))["status"] for run in runs} == {"completed"}

    async def test_a_slot_comes_back_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("crewmesh_workflow.engine.slots._LONGEST_IN_SLOT_SECONDS", 0.0)
        slots = Slots(1, queue=1)
        async with slots.slot("a"), slots.slot("b"):
            pass
        assert slots.reserve()
        assert not slots.reserve()


class TestTakingWhatIsDue:
    async def test_no_more_is_taken_than_there_are_slots(self, url: str, idle: Bench) -> None:
        runs = await begin(idle, 50)
        async with replica(url, slots=1) as other:
            other.sidecar.answer(SEARCH, for_ever)
            assert await other.parts.sweeper.sweep() == 50
            given_away = {drive.run for drive in other.scheduled}
            assert len(given_away) == 49
            assert given_away < set(runs)

    async def test_the_slot_of_one_that_is_cancelled_before_it_begins_is_free_again(self, url: str) -> None:
        async with replica(url, slots=1) as one:
            for _ in range(2):
                assert one.parts.engine.drive_here(DriveInput(run="run_1", driver=1, epoch=1))
                assert not one.parts.engine.drive_here(DriveInput(run="run_2", driver=1, epoch=1))
                one.tasks[-1].cancel()
                await asyncio.wait(one.tasks)
