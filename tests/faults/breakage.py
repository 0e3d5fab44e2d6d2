"""What breaks. Each fault is done to the processes of a running mesh from outside, by their ids.

What is left to chance in one is said by dice, so that a seed repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psutil
from crewmesh_testkit.mesh import APPS, MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_tools.servers.unprivileged import ordinary_account

Fault = Callable[[MeshProcess, random.Random], Awaitable[None]]

FREEZE_SECONDS = 40.0
FULL_SECONDS = 12.0
_BETWEEN_KILLS_SECONDS = 4.0
# Every write behind this place of a file is refused; the write-ahead log gets there with the first commits.
_FULL_AT_BYTES = 64 * 1024

SIDECARS = tuple(f"{app}-dapr" for app in APPS)
PROCESSES = (*APPS, *SIDECARS, "scheduler", "placement", "sentry", "postgres", "valkey")


def kill(name: str) -> Fault:
    async def fault(mesh: MeshProcess, _dice: random.Random) -> None:
        await asyncio.to_thread(mesh.kill, name)

    return fault


async def kill_everything(mesh: MeshProcess, dice: random.Random) -> None:
    """Each process once, in any order; the next one goes whether or not the last one is back."""
    for name in dice.sample(PROCESSES, len(PROCESSES)):
        await asyncio.to_thread(mesh.kill, name)
        await asyncio.sleep(dice.uniform(0.0, _BETWEEN_KILLS_SECONDS))


async def freeze(mesh: MeshProcess, _dice: random.Random) -> None:
    """The worker stops in the middle of whatever it does, loses its leases, and goes on as if nothing had been."""
    pid = await _pid(mesh, "workflow")
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FREEZE_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)


async def wipe_scheduler(mesh: MeshProcess, _dice: random.Random) -> None:
    """Every reminder that Dapr keeps is gone: whoever sleeps in there is not woken by it."""
    data = mesh.layout.state / "scheduler"
    # The one that runs keeps the files it has open; the next one finds nothing, however soon it is started.
    taken_away = data.rename(data.with_name("scheduler.wiped"))
    await asyncio.to_thread(mesh.kill, "scheduler")
    shutil.rmtree(taken_away)


async def fill_disk(mesh: MeshProcess, _dice: random.Random) -> None:
    """PostgreSQL cannot write.

    A real full disk needs a file system of one's own, which an ordinary account cannot make. So the kernel is told to
    refuse PostgreSQL's writes by a limit on the size of its files. It meets "file too large" where it would meet "no
    space left", in the same calls, and does the same about it: it panics, because its log cannot be written, and every
    start that falls into this time ends likewise.
    """
    over = asyncio.get_running_loop().time() + FULL_SECONDS
    try:
        while asyncio.get_running_loop().time() < over:
            await asyncio.to_thread(_limit_postgres, mesh, f"{_FULL_AT_BYTES}:")
            await asyncio.sleep(0.2)
    finally:
        await until(lambda: asyncio.to_thread(_has_room, mesh), seconds=60, every=0.2, what="room for PostgreSQL")


def _has_room(mesh: MeshProcess) -> bool:
    """Whether no process of PostgreSQL has a limit any more. One that kept it would fail for the rest of its life."""
    _limit_postgres(mesh, "unlimited:")
    return not any(_is_limited(pid) for pid in _of_postgres(mesh))


def _limit_postgres(mesh: MeshProcess, limit: str) -> None:
    # First the one that starts the others: whom it starts after that has its limit from the beginning.
    _limit(_of_postgres(mesh)[:1], limit)
    _limit(_of_postgres(mesh)[1:], limit)


def _of_postgres(mesh: MeshProcess) -> list[int]:
    """Its processes, the one that starts the others first; none while it is not running."""
    postmaster = mesh.status().process("postgres").pid
    if postmaster is None:
        return []
    try:
        return [postmaster, *(child.pid for child in psutil.Process(postmaster).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _limit(pids: Sequence[int], limit: str) -> None:
    command = ["sh", "-c", 'for pid in "$@"; do prlimit --pid "$pid" --fsize="$0"; done', limit, *map(str, pids)]
    # A process may limit others of its own account.
    account = ordinary_account()
    # Some of them end between the look and the call.
    subprocess.run(account.command(command, needs=()) if account else command, capture_output=True, check=False)


def _is_limited(pid: int) -> bool:
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has ended
    return not re.search(r"^Max file size +unlimited", limits, re.M)


async def _pid(mesh: MeshProcess, name: str) -> int:
    pid = (await asyncio.to_thread(mesh.status)).process(name).pid
    assert pid is not None, f"{name} is not running"
    return pid


FAULTS: dict[str, Fault] = {
    **{f"kill {name}": kill(name) for name in PROCESSES},
    "kill everything": kill_everything,
    "freeze workflow": freeze,
    "wipe scheduler": wipe_scheduler,
    "full disk": fill_disk,
}
