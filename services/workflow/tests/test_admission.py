"""Who of those that queue is let in, and when."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.definitions import publishing
from crewmesh_workflow.settings import EngineSettings

from services.workflow.tests.conftest import Bench, empty, replica
from services.workflow.tests.test_control import ASKING, Held, controlled, search, until

ONE_AT_A_TIME: JsonObject = {"concurrency": {"limit": 1}}


async def publish(bench: Bench, workflow: str, version: int, **more: JsonValue) -> None:
    definition = Definition.model_validate({"name": "w", "nodes": [search()], "edges": [], **more})
    async with bench.database.tenant(ORGANIZATION) as conn:
        await publishing.publish(conn, ORGANIZATION, workflow, version, definition, message="", by="usr_1")


async def start(bench: Bench, workflow: str, *keys: str, version: int = 1) -> list[str]:
    return [await bench.start(workflow, event_id=key, version=version) for key in keys]


async def statuses(bench: Bench, *runs: str) -> list[str]:
    return [(await bench.row(run))["status"] for run in runs]


async def over(bench: Bench, run: str) -> None:
    """Whatever it was doing."""
    async with bench.database.system() as conn:
        await conn.execute(
            "UPDATE runs SET status = 'completed', finished_at = now(), due_at = NULL WHERE id = %s", [run]
        )


async def test_no_more_are_let_in_than_there_is_room_for(bench: Bench) -> None:
    Held(bench)
    workflow = await bench.save([search()], settings=ONE_AT_A_TIME)
    runs = await start(bench, workflow, "e1", "e2", "e3", "e4")
    for ended in range(3):
        await over(bench, runs[ended])
        await bench.parts.admission.let_in()
        left = 4 - (ended + 2)
        assert await statuses(bench, *runs) == ["completed"] * (ended + 1) + ["running"] + ["queued"] * left


async def test_an_organization_that_was_crowded_lets_in_as_many_as_it_may(url: str) -> None:
    """Also when much has ended at once, and whichever workflows they are of."""
    async with replica(url, settings=EngineSettings(inline_slots=8, organization_runs=2)) as bench:
        await empty(bench.database)
        Held(bench)
        one, other = await bench.save([search()]), await bench.save([search()])
        at_work = await start(bench, one, "e1", "e2")
        await bench.parts.admission.let_in()  # it finds the organization crowded
        queued = [*await start(bench, one, "e3", "e4"), *await start(bench, other, "e1", "e2")]
        assert await statuses(bench, *queued) == ["queued"] * 4
        for run in at_work:
            await over(bench, run)
        await bench.parts.admission.let_in()
        assert sorted(await statuses(bench, *queued)) == ["queued", "queued", "running", "running"]


@pytest.mark.parametrize("when_full", ["queue", "refuse"])
async def test_a_full_workflow_can_be_tried(bench: Bench, when_full: str) -> None:
    Held(bench)
    workflow = await bench.save([search()], settings={"concurrency": {"limit": 1, "when_full": when_full}})
    await start(bench, workflow, "e1")
    tried = await bench.start(workflow, event_id="e2", test=True, origin="test")
    assert await statuses(bench, tried) == ["completed"]


async def test_who_comes_to_a_crowded_organization_is_behind_those_that_wait(url: str) -> None:
    async with replica(url, settings=EngineSettings(inline_slots=8, organization_runs=3)) as bench:
        await empty(bench.database)
        Held(bench)
        workflow, other = await bench.save([search()]), await bench.save([search()])
        at_work = await start(bench, workflow, "e1", "e2", "e3")
        await bench.parts.admission.let_in()  # it finds the organization crowded
        waits = await start(bench, workflow, "e4")
        await over(bench, at_work[0])
        behind = await start(bench, other, "e1")
        assert await statuses(bench, *waits, *behind) == ["queued", "queued"]
        await bench.parts.admission.let_in()
        assert await statuses(bench, *waits, *behind) == ["running", "queued"]


@pytest.mark.parametrize("leaves", ["completed", "waiting"])
async def test_a_place_that_is_left_is_taken_at_once(url: str, leaves: str) -> None:
    """And not when the queue is looked at next, else a workflow with a limit would get little done."""
    nodes, edges = ([], []) if leaves == "completed" else ASKING
    ways: list[JsonValue] = [{"from": "s", "to": "ok"}, *edges] if edges else []
    async with replica(url, settings=EngineSettings(inline_slots=8, sweep_seconds=60)) as bench:
        await empty(bench.database)
        held = Held(bench)
        workflow = await bench.save([search(), *nodes], ways, settings=ONE_AT_A_TIME)
        runs = await start(bench, workflow, "e1", "e2", "e3")
        async with controlled(bench):
            held.go.set()
            for run in runs:
                await until(bench, run, leaves)


class TestTheLimitOfTheWorkflow:
    async def test_that_was_taken_away_holds_back_nobody(self, bench: Bench) -> None:
        """Runs of the new version begin at once; they must not keep the older ones in the queue for ever."""
        Held(bench)
        workflow = await bench.save([search()], settings=ONE_AT_A_TIME)
        first, second = await start(bench, workflow, "e1", "e2")
        await publish(bench, workflow, 2)
        [third] = await start(bench, workflow, "e3", version=2)
        assert await statuses(bench, first, second, third) == ["running", "queued", "running"]
        await bench.parts.admission.let_in()
        assert await statuses(bench, first, second, third) == ["running"] * 3

    async def test_that_is_lower_now_holds_for_what_queued_before(self, bench: Bench) -> None:
        Held(bench)
        workflow = await bench.save([search()], settings={"concurrency": {"limit": 2}})
        runs = await start(bench, workflow, "e1", "e2", "e3", "e4")
        await publish(bench, workflow, 2, settings=ONE_AT_A_TIME)
        await over(bench, runs[0])
        await bench.parts.admission.let_in()
        assert await statuses(bench, *runs) == ["completed", "running", "queued", "queued"]
        await over(bench, runs[1])
        await bench.parts.admission.let_in()
        assert await statuses(bench, *runs) == ["completed", "completed", "running", "queued"]


async def test_full_workflows_are_in_nobodys_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them queue for however long: so many are looked at, and others have room."""
    monkeypatch.setattr("crewmesh_workflow.engine.admission._MOST_LOOKED_AT", 1)
    Held(bench)
    full, other = [await bench.save([search()], settings=ONE_AT_A_TIME) for _ in range(2)]
    at_work, waits = await start(bench, full, "e1", "e2")
    ended, next_one = await start(bench, other, "e1", "e2")
    await over(bench, ended)
    await bench.parts.admission.let_in()
    assert await statuses(bench, at_work, waits, next_one) == ["running", "queued", "running"]


async def test_priority_goes_first_also_between_workflows(url: str) -> None:
    settings = EngineSettings(inline_slots=8, organization_runs=2, organization_queue=10)
    async with replica(url, settings=settings) as bench:
        await empty(bench.database)
        Held(bench)
        backlog, urgent = await bench.save([search()]), await bench.save([search()], settings={"priority": 9})
        at_work = await start(bench, backlog, "e1", "e2")
        await bench.parts.admission.let_in()  # it finds the organization crowded
        older = await start(bench, backlog, "e3", "e4")
        [first] = await start(bench, urgent, "e1")
        assert await statuses(bench, *older, first) == ["queued"] * 3
        await over(bench, at_work[0])
        await bench.parts.admission.let_in()
        assert await statuses(bench, *older, first) == ["queued", "queued", "running"]
        await over(bench, at_work[1])
        await bench.parts.admission.let_in()
        assert await statuses(bench, *older, first) == ["running", "queued", "running"]
