"""Processes of a mesh whose supervisor is gone. Only what that supervisor recorded is touched, recognised by process
id and starting time; nothing is ever looked up by name."""

from __future__ import annotations

import os
import signal
import time

import psutil

from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.state import MeshStatus, is_locked, read_status, same_process

GRACE_SECONDS = 15.0
_SIGNALS = {"postgres": signal.SIGINT}  # by SIGTERM it would wait for its clients


def clean_up(layout: Layout) -> list[str]:
    """Ends what is left; returns the names of what was ended."""
    if is_locked(layout.lock_file):
        return []
    status = read_status(layout.state_file)
    if status is None:
        return []
    left = [
        (process.name, found) for process in status.processes if (found := same_process(process.pid, process.created))
    ]
    for name, process in left:
        _signal_group(process, _SIGNALS.get(name, signal.SIGTERM))
    _, stubborn = psutil.wait_procs([process for _, process in left], timeout=GRACE_SECONDS)
    for process in stubborn:
        _signal_group(process, signal.SIGKILL)
    return [name for name, _ in left]


def stop_supervisor(status: MeshStatus, seconds: float) -> bool:
    """Asks it to stop everything and waits; false when it had to be killed."""
    supervisor = same_process(status.supervisor_pid, status.supervisor_created)
    if supervisor is None:
        return True
    supervisor.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if same_process(status.supervisor_pid, status.supervisor_created) is None:
            return True
        time.sleep(0.05)
    supervisor.kill()
    return False


def _signal_group(process: psutil.Process, what: signal.Signals) -> None:
    """Each process of the mesh leads a session of its own, so its group is exactly what it started."""
    try:
        os.killpg(process.pid, what)
    except ProcessLookupError:
        return
