"""The engine against the bare chain, in one process, in turns, on one PostgreSQL that syncs every commit.

Started by ``runs.py`` with the folder of a running mesh; prints its measurements as JSON in its last line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import uvloop
from crewmesh_kit import logs
from crewmesh_kit.settings import LogSettings
from crewmesh_tools.mesh.layout import Layout, default_dapr_file
from pydantic import BaseModel

from tests.load.chain import open_chain
from tests.load.engine import open_engine
from tests.load.figures import percentile
from tests.load.sidecar import running_sidecar

REPEATS, STARTERS = 7, 16
_ALONE, _LOADED_SECONDS = 30, 3.0
_WARM_UP_SECONDS = 2.0


class Round(BaseModel):
    """One turn of one side; times in milliseconds."""

    alone: list[float]
    loaded: list[float]
    runs_per_second: float


class Contest(BaseModel):
    engine: list[Round] = []
    chain: list[Round] = []


class Contestant:
    def __init__(self, one_run: Callable[[], Awaitable[None]]) -> None:
        self._one_run = one_run
        self.runs = 0

    async def round(self) -> Round:
        alone = [await self._timed() for _ in range(_ALONE)]
        began = time.perf_counter()
        loaded = await self.under_load(_LOADED_SECONDS)
        return Round(alone=alone, loaded=loaded, runs_per_second=len(loaded) / (time.perf_counter() - began))

    async def under_load(self, seconds: float) -> list[float]:
        """Each starter starts its next run when its last one has ended; all are waited for."""
        until = time.perf_counter() + seconds

        async def starter() -> list[float]:
            times: list[float] = []
            while time.perf_counter() < until:
                times.append(await self._timed())
            return times

        return [each for times in await asyncio.gather(*(starter() for _ in range(STARTERS))) for each in times]

    async def _timed(self) -> float:
        began = time.perf_counter()
        await self._one_run()
        self.runs += 1
        return (time.perf_counter() - began) * 1000


async def contest(layout: Layout) -> Contest:
    known = cast("dict[str, str]", json.loads(layout.secrets_file.read_text()))
    outcome = Contest()
    async with (
        running_sidecar(layout, known) as bench,
        open_engine(bench) as engine,
        open_chain(bench.dapr) as chain,
    ):
        ours, theirs = Contestant(engine.one_run), Contestant(chain.one_run)
        for side in (ours, theirs):
            await side.under_load(_WARM_UP_SECONDS)
        for number in range(REPEATS):
            outcome.engine.append(await ours.round())
            outcome.chain.append(await theirs.round())
            _tell(number, outcome)
        await engine.check(ours.runs)
    return outcome


def _tell(number: int, outcome: Contest) -> None:
    told = [f"  round {number + 1}:"]
    for name, rounds in (("engine", outcome.engine), ("chain", outcome.chain)):
        latest = rounds[-1]
        alone, loaded = percentile(latest.alone, 0.5), percentile(latest.loaded, 0.5)
        told.append(f"{name} {latest.runs_per_second:.0f} runs/s, p50 alone {alone:.1f} ms, loaded {loaded:.1f} ms;")
    print(" ".join(told).rstrip(";"), flush=True)


def main() -> None:
    home, offset = sys.argv[1:]
    layout = Layout(default_dapr_file(), Path(home), int(offset))
    with (layout.logs / "bench.log").open("w") as log:
        logs.configure("bench", LogSettings(), stream=log)
        print(uvloop.run(contest(layout)).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
