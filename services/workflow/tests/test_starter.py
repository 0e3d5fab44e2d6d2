"""Starts that are not as smooth as most: of what was started before, at a limit, of what cannot be begun."""

from __future__ import annotations

import pytest
from crewmesh_workflow.engine.admission import QueueFull, WorkflowBusy
from crewmesh_workflow.settings import EngineSettings

from services.workflow.tests.conftest import Bench, empty, replica
from services.workflow.tests.test_control import Held, search


class TestWhatWasStartedBefore:
    async def test_is_found_at_the_limit_of_its_workflow(self, bench: Bench) -> None:
        Held(bench)
        workflow = await bench.save([search()], settings={"concurrency": {"limit": 1, "when_full": "refuse"}})
        run = await bench.start(workflow)
        assert await bench.start(workflow) == run
        with pytest.raises(WorkflowBusy):
            await bench.start(workflow, event_id="e2")
        with pytest.raises(WorkflowBusy):
            await bench.start(workflow, key=None)

    async def test_is_found_when_the_queue_is_full(self, url: str) -> None:
        settings = EngineSettings(inline_slots=8, organization_runs=2, organization_queue=1)
        async with replica(url, settings=settings) as bench:
            await empty(bench.database)
            Held(bench)
            workflow = await bench.save([search()])
            runs = {number: await bench.start(workflow, event_id=number) for number in ("e1", "e2")}
            await bench.parts.admission.let_in()
            runs["e3"] = await bench.start(workflow, event_id="e3")
            assert {number: await bench.start(workflow, event_id=number) for number in runs} == runs
            with pytest.raises(QueueFull):
                await bench.start(workflow, event_id="e4")
