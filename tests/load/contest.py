"""The engine against others, in one process, in turns, on one PostgreSQL that syncs every commit.

Started by ``runs.py`` with the folder of a running mesh; prints its measurements as JSON in its last line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol, cast

import uvloop
from crewmesh_kit import logs
from crewmesh_kit.settings import LogSettings
from crewmesh_tools.mesh.layout import Layout, default_dapr_file

from tests.load import chain
from tests.load.chain import ChainSide
from tests.load.dbos_side import open_dbos
from tests.load.engine import EngineSide, open_engine
from tests.load.figures import percentile
from tests.load.generator import running_generator
from tests.load.results import Contest, Round
from tests.load.sidecar import running_sidecar
from tests.load.webhook import open_webhook
from tests.load.worker import running_worker

REPEATS, STARTERS = 5, 16
_ALONE, _LOADED_SECONDS = 30, 3.0
_WARM_UP_SECONDS = 2.0
_FAN_OUTS, _PURE_REPEATS, _PURE_SECONDS = 3, 3, 1.0

OneRun = Callable[[], Awaitable[None]]


class Side(Protocol):
    async def warm_up(self) -> object: ...
    async def round(self) -> Round: ...


class Contestant:
    """Runs in this process, many at a time."""

    def __init__(self, one_run: OneRun) -> None:
        self._one_run = one_run

    async def warm_up(self) -> None:
        await self.under_load(_WARM_UP_SECONDS)

    async def round(self) -> Round:
        began = time.perf_counter()
        loaded = await self.under_load(_LOADED_SECONDS)
        return Round(loaded=loaded, runs_per_second=len(loaded) / (time.perf_counter() - began))

    async def under_load(self, seconds: float) -> list[float]:
        """Each starter starts its next run when its last one has ended; all are waited for."""
        until = time.perf_counter() + seconds

        async def starter() -> list[float]:
            times: list[float] = []
            while time.perf_counter() < until:
                times.append(await _timed(self._one_run))
            return times

        return [each for times in await asyncio.gather(*(starter() for _ in range(STARTERS))) for each in times]


async def _timed(one_run: OneRun) -> float:
    began = time.perf_counter()
    await one_run()
    return (time.perf_counter() - began) * 1000


async def contest(layout: Layout) -> Contest:
    known = cast("dict[str, str]", json.loads(layout.secrets_file.read_text()))
    async with (
        running_sidecar(layout, known) as bench,
        open_engine(bench) as engine,
        running_worker(bench.dapr, chain.register, engine.register),
    ):
        bare = ChainSide(bench.dapr)
        # First, while there is nothing else: no threads of another engine, no tables to be cleaned up after a load.
        alone = await _alone({"engine": engine.five, "chain": bare.five})
        async with open_dbos(bench.dbos_url) as dbos, running_generator() as generate:
            sides: dict[str, Side] = {
                "engine": Contestant(engine.five),
                "chain": Contestant(bare.five),
                "dbos": Contestant(dbos.five),
                "waiting": Contestant(engine.waiting),
                "webhook": await open_webhook(layout, generate),
            }
            return Contest(
                alone=alone,
                rounds=await _in_turns(sides),
                fan_outs=await _fan_outs({"engine": engine.fan_out, "chain": bare.fan_out}),
                ten_pure=await _ten_pure(engine),
                resumed=await engine.resume_many(),
            )


async def _in_turns(sides: Mapping[str, Side]) -> dict[str, list[Round]]:
    for side in sides.values():
        await side.warm_up()
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    for number in range(REPEATS):
        for name, side in sides.items():
            rounds[name].append(await side.round())
        told = ", ".join(f"{name} {of[-1].runs_per_second:.0f}" for name, of in rounds.items())
        print(f"  round {number + 1}: runs/s {told}", flush=True)
    return rounds


async def _alone(sides: Mapping[str, OneRun]) -> dict[str, list[list[float]]]:
    """Milliseconds of one run after the other, in turns; the first turn is for warming up."""
    turns: dict[str, list[list[float]]] = {name: [] for name in sides}
    for _ in range(REPEATS + 1):
        for name, one_run in sides.items():
            turns[name].append([await _timed(one_run) for _ in range(_ALONE)])
    told = "; ".join(f"{name} {' '.join(f'{percentile(of, 0.5):.1f}' for of in turns[name][1:])}" for name in sides)
    print(f"  alone, p50 in ms: {told}", flush=True)
    return {name: of[1:] for name, of in turns.items()}


async def _fan_outs(sides: Mapping[str, OneRun]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for one_run in sides.values():
        await one_run()
    for _ in range(_FAN_OUTS):
        for name, one_run in sides.items():
            seconds[name].append(await _timed(one_run) / 1000)
    told = ", ".join(f"{name} {' '.join(f'{each:.2f}' for each in of)}" for name, of in seconds.items())
    print(f"  fan-outs of {chain.FAN_OUT}, seconds: {told}", flush=True)
    return seconds


async def _ten_pure(engine: EngineSide) -> list[float]:
    """Runs a second."""
    side = Contestant(engine.ten_pure)
    rates: list[float] = []
    for _ in range(_PURE_REPEATS):
        began = time.perf_counter()
        runs = len(await side.under_load(_PURE_SECONDS))
        rates.append(runs / (time.perf_counter() - began))
    return rates


def main() -> None:
    home, offset = sys.argv[1:]
    layout = Layout(default_dapr_file(), Path(home), int(offset))
    with (layout.logs / "bench.log").open("w") as log:
        logs.configure("bench", LogSettings(), stream=log)
        print(uvloop.run(contest(layout)).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
