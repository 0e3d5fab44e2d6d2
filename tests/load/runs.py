"""Runs: how many a second, and how long each, against bare Dapr workflows and another engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from crewmesh_testkit.mesh import MeshProcess

from tests.load.chain import FAN_OUT
from tests.load.figures import Figure, Target, at_least_times_baseline, at_most, median, percentile
from tests.load.results import Contest, Round

_LONGEST_LINE = 16 * 1024 * 1024


async def measure_runs(mesh: MeshProcess) -> list[Figure]:
    outcome = await _contest(mesh)
    return [*_against(outcome), *_five_effects(outcome), *_others(outcome)]


def _against(outcome: Contest) -> list[Figure]:
    rates = {name: median(each.runs_per_second for each in rounds) for name, rounds in outcome.rounds.items()}

    def figure(name: str, ours: str, theirs: str, times: float) -> Figure:
        return Figure(name, rates[ours], "runs/s", rates[theirs], at_least_times_baseline(times))

    return [
        figure("five-effect vs bare chain", "engine", "chain", 5.0),
        figure("five-effect vs dbos", "engine", "dbos", 4.0),
        figure("driver-from-start vs bare chain", "waiting", "chain", 1.5),
        figure("pure nodes by webhook vs bare chain", "webhook", "chain", 4.0),
    ]


def _five_effects(outcome: Contest) -> list[Figure]:
    engine, chain = outcome.rounds["engine"], outcome.rounds["chain"]

    def figure(name: str, of: Callable[[Round], float], target: Target | None = None) -> Figure:
        return Figure(name, median(map(of, engine)), "ms", baseline=median(map(of, chain)), target=target)

    return [
        figure("five-effect p50 alone", lambda round_: percentile(round_.alone, 0.5), at_most(8.0)),
        figure("five-effect p95 alone", lambda round_: percentile(round_.alone, 0.95)),
        figure("five-effect p50 loaded", lambda round_: percentile(round_.loaded, 0.5)),
        figure("five-effect p95 loaded", lambda round_: percentile(round_.loaded, 0.95)),
    ]


def _others(outcome: Contest) -> list[Figure]:
    items = {name: FAN_OUT / median(seconds) for name, seconds in outcome.fan_outs.items()}
    loop, bare = items["engine"], items["chain"]
    return [
        Figure("for-each 200 vs bare fan-out", loop, "items/s", baseline=bare, target=at_least_times_baseline(3.0)),
        Figure("ten pure nodes", median(outcome.ten_pure), "runs/s"),
        Figure("1,000 waiting runs resumed", outcome.resumed, "runs/s"),
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
