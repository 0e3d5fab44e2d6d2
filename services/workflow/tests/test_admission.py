"""Who of those that queue is let in, and when."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_workflow.settings import EngineSettings

from services.workflow.tests.conftest import Bench, empty, replica
from services.workflow.tests.test_control import Held, search

ONE_AT_A_TIME: JsonObject = {"concurrency": {"limit": 1}}


async def start(bench: Bench, workflow: str, *keys: str, **more: object) -> list[str]:
    return [await bench.start(workflow, event_id=key, **more) for key in keys]


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
