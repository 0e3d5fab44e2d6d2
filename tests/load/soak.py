"""``python -m tests.load.soak --minutes 20``: a mesh of its own under steady work of every kind, watched for decay.

Clients in a closed loop: most call a webhook of five pure nodes, some start a run with an effect beyond the mesh, some
a run that waits longer than a worker naps, so that Dapr's drivers, its timers and the scheduler always have work. Every
minute it tells how many runs ended, what one of them cost, what others took of the machine, and what each process
holds. The last tenth must carry what the first did. Where it does not and a run costs what it did, others are to blame.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import aiohttp
import psutil
from crewmesh_testkit.mesh import JsonDict, MeshProcess
from crewmesh_testkit.receiver import Receiver
from crewmesh_tools.mesh.state import MeshStatus

from tests.load.figures import Figure, at_least_times_baseline, at_most, table, write
from tests.load.processes import processor_seconds, used_by_process
from tests.load.webhook import PURE, hook_of

_OFFSET = 23_250
_STATE = Path(__file__).resolve().parents[2] / ".crewmesh"
_FILE = _STATE / "bench-soak.json"
# How many clients do what: enough to keep both cores busy, and no queue that only grows.
_CLIENTS = {"webhook": 6, "effect": 3, "waits": 12}
_WAIT_SECONDS = 3
# By so much the memory of a process may still grow in the second half.
_FLAT_MIB = 32.0
# Pools and caches fill up first.
_WARM_UP_SECONDS = 60.0

Work = Callable[[], Awaitable[None]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak")
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes: float = parser.parse_args().minutes
    _STATE.mkdir(mode=0o711, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="soak-", dir=_STATE))
    home.chmod(0o711)
    mesh = MeshProcess(home, offset=_OFFSET)
    try:
        mesh.start()
        figures = asyncio.run(_soak(mesh, minutes * 60))
    finally:
        mesh.stop()
        shutil.rmtree(home)
    write(_FILE, figures)
    print(f"\n{table(figures)}\n\nWritten to {_FILE.relative_to(_STATE.parent)}")
    return 0


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of processor time until now, and how many runs had ended; the share that was busy since the last time."""

    mesh: float
    clients: float
    runs: int
    at: float
    busy: float

    def milliseconds_per_run(self, before: Spent) -> float:
        return (self.mesh - before.mesh) * 1000 / max(self.runs - before.runs, 1)

    def share_of_others(self, before: Spent) -> float:
        """What neither the mesh nor these clients took, of all there was."""
        there = (self.at - before.at) * (psutil.cpu_count() or 1)
        return max(self.busy - (self.mesh - before.mesh + self.clients - before.clients) / there, 0.0)


class Soak:
    def __init__(self, mesh: MeshProcess, session: aiohttp.ClientSession, seconds: float) -> None:
        self._mesh = mesh
        self._session = session
        self._began = time.monotonic() + _WARM_UP_SECONDS
        self._seconds = seconds
        self.ended: list[float] = []  # when each run ended, in seconds since the warm-up
        self.by_kind: Counter[str] = Counter()
        self.memory: list[dict[str, float]] = []
        self.spent: list[Spent] = []

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    async def client(self, kind: str, work: Work) -> None:
        while self.now < self._seconds:
            await work()
            self.ended.append(self.now)
            self.by_kind[kind] += 1

    async def watch(self) -> None:
        """Once a minute, and a first time when the warm-up is over."""
        minute = 0
        while True:
            await asyncio.sleep(max(0.0, minute * 60 - self.now))
            status = await asyncio.to_thread(self._mesh.status)
            self.memory.append(used_by_process(status))
            self.spent.append(self._spent(status))
            self._tell(minute)
            minute += 1

    def rate(self, share_from: float, share_to: float) -> float:
        first, last = share_from * self._seconds, share_to * self._seconds
        return sum(first <= at < last for at in self.ended) / (last - first)

    def _spent(self, status: MeshStatus) -> Spent:
        own = psutil.Process().cpu_times()
        busy = psutil.cpu_percent() / 100
        return Spent(processor_seconds(status), own.user + own.system, len(self.ended), time.monotonic(), busy)

    def _tell(self, minute: int) -> None:
        seconds = min(60.0, self.now + _WARM_UP_SECONDS)
        rate = sum(self.now - seconds <= at for at in self.ended) / seconds
        latest = self.memory[-1]
        if minute == 0:
            print("minute  runs/s  CPU ms/run  others %  " + "  ".join(latest), flush=True)
        before, now = self.spent[max(minute - 1, 0)], self.spent[minute]
        cost, others = (now.milliseconds_per_run(before), now.share_of_others(before) * 100) if minute else (0.0, 0.0)
        cells = "  ".join(f"{mebibytes:{len(name)}.0f}" for name, mebibytes in latest.items())
        print(f"{minute:6}  {rate:6.1f}  {cost:10.1f}  {others:8.0f}  {cells}", flush=True)


async def _soak(mesh: MeshProcess, seconds: float) -> list[Figure]:
    headers = {"authorization": f"Bearer {mesh.credentials.api_key}", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with Receiver() as receiver, aiohttp.ClientSession(headers=headers, connector=connector) as session:
        work = await _works(mesh, session, receiver)
        soak = Soak(mesh, session, seconds)
        watching = asyncio.create_task(soak.watch())
        await asyncio.gather(*(soak.client(kind, work[kind]) for kind, n in _CLIENTS.items() for _ in range(n)))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    told = ", ".join(f"{count} {kind}" for kind, count in soak.by_kind.items())
    print(f"Ended: {told}")
    return _figures(soak)


async def _works(mesh: MeshProcess, session: aiohttp.ClientSession, receiver: Receiver) -> dict[str, Work]:
    api = mesh.credentials.api_url.replace("localhost", "127.0.0.1")
    effect = {"id": "deliver", "kind": "http", "url": receiver.url("/soak")}
    wait = {"id": "wait", "kind": "delay", "seconds": _WAIT_SECONDS}
    async with mesh.client() as client:
        hook = await hook_of(client, mesh.credentials.api_url, PURE)
        ids: dict[str, str] = {}
        for kind, nodes in (("effect", [effect]), ("waits", [wait, effect])):
            edges = [{"from": "wait", "to": "deliver"}] if kind == "waits" else []
            made = await client.post("/v1/workflows", {"name": f"Soak: {kind}", "nodes": nodes, "edges": edges})
            if made.status != 201:
                raise RuntimeError(f"the workflow was not accepted: {made.body}")
            ids[kind] = str(made.body["id"])

    async def call_webhook() -> None:
        await _ask(session, hook, {"number": 7, "name": "soak"})

    def run_of(workflow: str) -> Work:
        url = f"{api}/v1/workflows/{workflow}/runs?wait=30"

        async def run() -> None:
            answer = await _ask(session, url, {"input": {}})
            if answer.get("status") not in (None, "completed"):
                raise RuntimeError(f"a run did not end well: {answer}")

        return run

    return {"webhook": call_webhook, **{kind: run_of(workflow) for kind, workflow in ids.items()}}


async def _ask(session: aiohttp.ClientSession, url: str, body: JsonDict) -> JsonDict:
    async with session.post(url, data=json.dumps(body)) as answer:
        text = await answer.text()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {text[:500]}")
        return cast(JsonDict, json.loads(text))


def _figures(soak: Soak) -> list[Figure]:
    first, last = soak.rate(0.0, 0.1), soak.rate(0.9, 1.0)
    # What fills up once does so in the first half; what grows without end does in the second as well.
    half, end = soak.memory[len(soak.memory) // 2], soak.memory[-1]
    growth = {name: end[name] - used for name, used in half.items() if name in end}
    worst = max(growth, key=lambda name: growth[name])
    print(f"In the second half {worst} grew most: {growth[worst]:+.0f} MiB")
    whole = [sum(used.values()) for used in soak.memory]
    costs = [after.milliseconds_per_run(before) for before, after in pairwise(soak.spent)]
    return [
        Figure("soak last vs first tenth", last, "runs/s", baseline=first, target=at_least_times_baseline(0.9)),
        Figure("soak processor time of a run", costs[-1], "ms", baseline=costs[0]),
        Figure("soak memory at the end", whole[-1], "MiB", baseline=whole[0]),
        Figure("soak memory growth, worst process", growth[worst], "MiB", target=at_most(_FLAT_MIB)),
    ]


if __name__ == "__main__":
    sys.exit(main())
