"""``python -m tests.load``: start a mesh of its own, measure it, stop it, tell.

What is measured in this process runs on the event loop that services run on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import uvloop
from crewmesh_testkit.mesh import MeshProcess

from tests.load.calls import measure_authentication, measure_calls
from tests.load.chats import measure_chats
from tests.load.disk import measure_fsync
from tests.load.figures import Figure, table, write
from tests.load.processes import measure_idle_memory, measure_warm_start
from tests.load.runs import measure_runs
from tests.load.streams import measure_streams
from tests.load.turns import measure_turns
from tests.load.usage import measure_usage

# Above every offset that tests take: between two starts nobody else may come by and take the ports.
_OFFSET = 23_250
_STATE = Path(__file__).resolve().parents[2] / ".crewmesh"


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m tests.load", description="Measure the mesh; see docs/guides/performance.md."
    ).parse_args()
    began = time.monotonic()
    busy = psutil.cpu_percent(interval=2.0)
    _STATE.mkdir(mode=0o711, exist_ok=True)
    with _mesh() as mesh:
        figures = uvloop.run(_measure(mesh))
    write(_STATE / "bench.json", figures)
    missed = [figure for figure in figures if figure.verdict == "MISSED"]
    print(f"\n{table(figures)}\n")
    took = time.monotonic() - began
    print(f"{_machine()}, which others kept {busy:.0f} % busy before the start; took {took:.0f} s")
    print(f"Targets missed: {len(missed)}. Written to .crewmesh/bench.json")
    return 0


async def _measure(mesh: MeshProcess) -> list[Figure]:
    _say("a page on this disk")
    fsync = measure_fsync(mesh.layout.state)
    _say("starting with data in place")
    start = measure_warm_start(mesh)
    _say("memory while idle")
    memory = await measure_idle_memory(mesh)
    _say("calls through the gateway and two sidecars, and direct, in turns")
    calls = await measure_calls(mesh)
    _say("calls with a key and calls that need none, in turns")
    calls += await measure_authentication(mesh)
    _say("500 followers of one run, 50 of whom never read")
    streams = await measure_streams(mesh)
    _say("a model asked directly, through our door, and by an agent, in turns")
    turns = await measure_turns(mesh)
    _say("50 chats at the same time, 50 words a second each, and the same read from the model directly")
    chats = await measure_chats(mesh)
    _say("usage of a month, summed up by the day and read call by call, in turns")
    usage = await measure_usage(mesh)
    _say("runs: ours, bare Dapr workflows and DBOS, in turns")
    runs = await measure_runs(mesh)
    return [fsync, *calls, *streams, *turns, *chats, *usage, *runs, memory, start]


@contextmanager
def _mesh() -> Generator[MeshProcess]:
    """In a folder on the disk on which a developer's mesh has its data."""
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=_STATE))
    home.chmod(0o711)
    mesh = MeshProcess(home, offset=_OFFSET, environment={"CREWMESH_PROVIDERS__PRIVATE_ADDRESSES": "true"})
    _say(f"a mesh of its own, ports shifted by {mesh.layout.offset}")
    try:
        mesh.start()
        yield mesh
    finally:
        mesh.stop()
        shutil.rmtree(home)


def _machine() -> str:
    memory = psutil.virtual_memory().total / 1024**3
    return f"{os.cpu_count()} cores shared by everything, {memory:.0f} GiB, Python {sys.version.split()[0]}"


def _say(what: str) -> None:
    print(f"… {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
