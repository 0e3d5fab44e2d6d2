"""What the mesh costs before it does anything: memory while idle, and the time a start takes."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import psutil
from crewmesh_testkit.mesh import MeshProcess
from crewmesh_tools.mesh.show import usage
from crewmesh_tools.mesh.state import MeshStatus, ProcessStatus, same_process

from tests.load.figures import Figure, at_most, median

STARTS = 3
_SETTLE_SECONDS = 15.0


def measure_warm_start(mesh: MeshProcess) -> Figure:
    """From the command to "ready", with data, secrets and certificates in place. Leaves the mesh running."""
    seconds: list[float] = []
    for _ in range(STARTS):
        mesh.stop()
        began = time.perf_counter()
        mesh.start()
        seconds.append(time.perf_counter() - began)
    print(f"  starts: {', '.join(f'{each:.1f} s' for each in seconds)}", flush=True)
    return Figure("warm start", median(seconds), "s", target=at_most(30.0))


async def measure_idle_memory(mesh: MeshProcess) -> Figure:
    """Every process with what it started; pages that several share are counted once."""
    await asyncio.sleep(_SETTLE_SECONDS)
    used = used_by_process(mesh.status())
    for name, mebibytes in sorted(used.items(), key=lambda item: -item[1]):
        print(f"  {name:18} {mebibytes:7.0f} MiB", flush=True)
    return Figure("idle memory", sum(used.values()), "MiB", target=at_most(2560.0))


def used_by_process(status: MeshStatus) -> dict[str, float]:
    """MiB of every process of the mesh, with what it started."""
    used = {process.name: _mebibytes(process) for process in status.processes}
    supervisor = same_process(status.supervisor_pid, status.supervisor_created)
    if supervisor is not None:
        used["supervisor"] = supervisor.memory_full_info().pss / 1024**2
    return used


def processor_seconds(status: MeshStatus) -> float:
    """What every process of the mesh has taken so far, with what it started, also of that what has ended."""
    seconds = 0.0
    for process in status.processes:
        found = same_process(process.pid, process.created)
        for member in [] if found is None else [found, *found.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _mebibytes(process: ProcessStatus) -> float:
    used = usage(process)
    if used is None:
        raise RuntimeError(f"{process.name} is not running")
    return used.total / 1024**2
