"""Runs of five effects: how many a second, and how long each, against a bare Dapr chain."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from crewmesh_testkit.mesh import MeshProcess

from tests.load.contest import Contest, Round
from tests.load.figures import Figure, at_least_times_baseline, median, percentile

_LONGEST_LINE = 16 * 1024 * 1024


async def measure_runs(mesh: MeshProcess) -> list[Figure]:
    outcome = await _contest(mesh)

    def figure(name: str, unit: str, of: Callable[[Round], float]) -> Figure:
        return Figure(name, median(map(of, outcome.engine)), unit, baseline=median(map(of, outcome.chain)))

    rate = figure("five-effect vs bare chain", "runs/s", lambda round_: round_.runs_per_second)
    return [
        Figure(rate.name, rate.value, rate.unit, rate.baseline, at_least_times_baseline(1.0)),
        figure("five-effect p50 alone", "ms", lambda round_: percentile(round_.alone, 0.5)),
        figure("five-effect p95 alone", "ms", lambda round_: percentile(round_.alone, 0.95)),
        figure("five-effect p50 loaded", "ms", lambda round_: percentile(round_.loaded, 0.5)),
        figure("five-effect p95 loaded", "ms", lambda round_: percentile(round_.loaded, 0.95)),
    ]


async def _contest(mesh: MeshProcess) -> Contest:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.load.contest", str(mesh.home), str(mesh.layout.offset)),
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    if process.stdout is None:
        raise RuntimeError("the contest has no pipe")
    last = b""
    async for line in process.stdout:
        if not line.startswith(b"{"):
            print(line.decode().rstrip(), flush=True)
        last = line
    if await process.wait() != 0:
        raise RuntimeError(f"the contest ended with status {process.returncode}; its log: {mesh.layout.logs}/bench.log")
    return Contest.model_validate_json(last)
