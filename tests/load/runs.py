"""Runs: how many a second, and how long each, against bare Dapr workflows and another engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence

from crewmesh_testkit.mesh import MeshProcess

from tests.load.chain import FAN_OUT
from tests.load.figures import Figure, Target, at_least_times_baseline, at_most, median, percentile
from tests.load.results import Contest

_LONGEST_LINE = 16 * 1024 * 1024

Turns = Sequence[list[float]]


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
    loaded = {name: [round_.loaded for round_ in rounds] for name, rounds in outcome.rounds.items()}

    def figure(name: str, share: float, times: Mapping[str, Turns], target: Target | None = None) -> Figure:
        ours, theirs = (median(percentile(turn, share) for turn in times[side]) for side in ("engine", "chain"))
        return Figure(name, ours, "ms", baseline=theirs, target=target)

    return [
        figure("five-effect p50 alone", 0.5, outcome.alone, at_most(8.0)),
        figure("five-effect p95 alone", 0.95, outcome.alone),
        figure("five-effect p50 loaded", 0.5, loaded),
        figure("five-effect p95 loaded", 0.95, loaded),
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
