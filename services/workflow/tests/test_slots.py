"""Replicas whose slots are taken: what they have no slot for is free for others, and what they take they advance."""

from __future__ import annotations

import asyncio

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_workflow.engine.outcome import DriveInput

from services.workflow.tests.conftest import Bench, replica

NODE: JsonObject = {"id": "s", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"}


async def found(request: SearchRequest) -> SearchResult:
    return SearchResult(hits=(SearchHit(document="d", title="T", position=0, text="t", score=1.0),))


async def for_ever(request: SearchRequest) -> SearchResult:
    await asyncio.Event().wait()
    return await found(request)


async def begin(bench: Bench, count: int) -> list[str]:
    workflow = await bench.save([NODE])
    return [await bench.start(workflow, event_id=f"e{number}") for number in range(count)]


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
