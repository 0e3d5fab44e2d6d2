"""Turns: what our door to models adds to a call, and what CrewAI and all else of ours add to a turn of an agent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from crewmesh_testkit.mesh import MeshProcess

from tests.load.figures import Figure, at_most, percentile
from tests.load.thinking import Measured

_MOST_ADDED_MS = 12.0


async def measure_turns(mesh: MeshProcess) -> list[Figure]:
    measured = await _measured(mesh)

    def added(name: str, times: Sequence[float], share: float) -> Figure:
        direct = percentile(measured.direct, share)
        target = at_most(_MOST_ADDED_MS) if share == 0.5 else None
        return Figure(name, percentile(times, share) - direct, "ms", baseline=direct, target=target)

    return [
        added("added to a model call p50", measured.asked, 0.5),
        added("added to a model call p95", measured.asked, 0.95),
        added("added by a turn p50", measured.turn, 0.5),
        added("added by a turn p95", measured.turn, 0.95),
        Figure("of that CrewAI p50", percentile(measured.crewai, 0.5), "ms"),
    ]


async def _measured(mesh: MeshProcess) -> Measured:
    with (mesh.layout.logs / "bench-thinking.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.load.thinking", str(mesh.home), str(mesh.layout.offset)),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"it ended with status {process.returncode}; its log: {mesh.layout.logs}/bench-thinking.log")
    return Measured.model_validate_json(said.splitlines()[-1])
