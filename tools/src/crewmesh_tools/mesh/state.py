"""What a running mesh tells about itself: one small file, replaced as a whole on every change.

The supervisor writes it; ``up``, ``status`` and ``stop`` read it. A process is recognised by its id together with the
moment it started, because ids are reused. Whether a supervisor is alive is told by a lock the kernel takes back when
the supervisor is gone, however it went.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

from crewmesh_tools.mesh.errors import MeshError

Phase = Literal["preparing", "starting", "filling", "ready", "stopping", "stopped", "failed"]
ProcessState = Literal["waiting", "starting", "ready", "unready", "restarting", "stopping", "stopped"]


class ProcessStatus(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    port: int
    state: ProcessState = "waiting"
    pid: int | None = None
    created: float | None = None
    restarts: int = 0
    detail: str = ""


class MeshStatus(BaseModel):
    model_config = ConfigDict(frozen=True)

    phase: Phase
    supervisor_pid: int
    supervisor_created: float
    started_at: float
    ready_after: float | None = None
    first_run: bool = False
    api_url: str
    problem: str = ""
    processes: tuple[ProcessStatus, ...] = ()

    def process(self, name: str) -> ProcessStatus:
        return next(process for process in self.processes if process.name == name)


def write_status(path: Path, status: MeshStatus) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(status.model_dump_json(), encoding="utf-8")
    fresh.replace(path)


def read_status(path: Path) -> MeshStatus | None:
    try:
        return MeshStatus.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise MeshError(f"{path} is damaged ({error.__class__.__name__}); remove it and try again.") from error


def same_process(pid: int | None, created: float | None) -> psutil.Process | None:
    """The process that was recorded, or nothing when it is gone or its id belongs to another one now."""
    if pid is None or created is None:
        return None
    try:
        process = psutil.Process(pid)
        alive = abs(process.create_time() - created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def created_at(pid: int) -> float | None:
    """When it started; nothing when it is gone already."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


@contextmanager
def holding_lock(path: Path) -> Generator[None]:
    """Held by the supervisor for its whole life; taken by nobody else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MeshError("A mesh is already running here. Stop it first: make stop") from error
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
