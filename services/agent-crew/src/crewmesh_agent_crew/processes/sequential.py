"""Sequential: every task is one agent's, one after the other."""

from __future__ import annotations

from crewmesh_agent_crew.crew_runs.stage import Said
from crewmesh_agent_crew.processes.floor import Floor


async def done(floor: Floor) -> Said:
    return await floor.give(floor.asked(floor.lead))
