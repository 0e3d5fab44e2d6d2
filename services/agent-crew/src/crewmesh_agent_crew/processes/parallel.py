"""Parallel: every task is one agent's, and begins as soon as those are done that it is shown the results of."""

from __future__ import annotations

import asyncio

from crewmesh_agent_crew.crew_runs.stage import Said, Stage
from crewmesh_agent_crew.crews.models import Task
from crewmesh_agent_crew.processes.floor import Floor, Outcome, together


async def parallel(stage: Stage) -> Outcome:
    doing: dict[str, asyncio.Task[Said]] = {}

    async def do(task: Task) -> Said:
        floor = Floor(stage, task, [await doing[name] for name in task.context])
        return await stage.turn(floor.asked(floor.lead))

    async def awaited(work: asyncio.Task[Said]) -> Said:
        return await work

    for task in stage.crew.tasks:
        doing[task.name] = asyncio.create_task(do(task))
    said = await together([awaited(work) for work in doing.values()])
    return Outcome(said[-1].text, tuple(said), said[-1].data)
