"""What must hold before anything starts: room on the disk, and ports that are free."""

from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import HIGHEST_PORT

LEAST_FREE_BYTES = 500 * 1024 * 1024


def check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise MeshError(
            f"Only {free // 1024**2} MB are free on the disk of {folder}; to start, the mesh needs "
            f"{LEAST_FREE_BYTES // 1024**2} MB. Free some space, or put the mesh elsewhere with --home."
        )


def disk_warning(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free >= LEAST_FREE_BYTES // 2:
        return ""
    return f"Only {free // 1024**2} MB are free on the disk of {folder}. Free some space, or data will be refused soon."


def check_ports(ports: Iterable[tuple[str, int]]) -> None:
    """Refuses to start when somebody else listens on one of our ports, and says who."""
    taken = [(name, port) for name, port in ports if _is_taken(port)]
    if taken:
        lines = [f"  port {port} ({name}) is taken by {holder_of(port)}" for name, port in taken]
        raise MeshError(
            "\n".join(["The mesh cannot start, because other programs listen on its ports:", *lines])
            + "\nStop them, or run the mesh on other ports: make run OFFSET=10000"
        )


def _is_taken(port: int) -> bool:
    if port > HIGHEST_PORT:
        raise MeshError(f"Port {port} is above {HIGHEST_PORT}; choose a smaller offset.")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise MeshError(f"Port {port} cannot be used: {error.strerror}.") from error
    return False


def holder_of(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "a program this user may not see"
    for connection in connections:
        if connection.laddr and connection.laddr[1] == port and connection.status == psutil.CONN_LISTEN:
            return _describe(connection.pid)
    return "a program that has just closed it or belongs to another user"


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a program of another user"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
        folder = process.cwd()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return f"process {pid}"
    shown = command if len(command) <= 90 else command[:87] + "..."
    return f"process {pid}: {shown} (in {folder})"
