"""What a developer does with the mesh: up, stop, status, logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from rich.console import Console

from crewmesh_tools.dapr_runtime import DaprMissingError, ensure_dapr, ensure_daprd_for_replicas
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.leftovers import clean_up, stop_supervisor
from crewmesh_tools.mesh.logfiles import follow, last_lines, merged
from crewmesh_tools.mesh.preflight import check_disk, disk_warning
from crewmesh_tools.mesh.process import die_with_parent
from crewmesh_tools.mesh.show import Progress, as_json, line_printer, table
from crewmesh_tools.mesh.state import MeshStatus, is_locked, read_status

STOP_SECONDS = 120.0
ASK_EVERY = 0.1


def up(layout: Layout, console: Console, *, foreground: bool) -> int:
    """Starts the mesh unless it runs already, shows it until it is ready, and says how to use it."""
    if is_locked(layout.lock_file):
        status = _wait_until_settled(layout, console, None)
        console.print(f"The mesh is running already ({status.phase}). Stop it first to start it anew: make stop")
        _tell(layout, status, console, show_key=False)
        return 0 if status.phase == "ready" else 1
    ended = clean_up(layout)
    if ended:
        console.print(f"Ended what an earlier mesh had left running: {', '.join(ended)}")
    # Passable for the account the database runs as; what is in it is closed one by one.
    layout.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    check_disk(layout.state)
    supervisor = _launch(layout, _dapr(layout, console), attached=foreground)
    with _interrupted_by_user(layout, console, foreground=foreground):
        status = _wait_until_settled(layout, console, supervisor)
        if status.phase != "ready":
            supervisor.wait()
            raise MeshError(f"The mesh did not start.\n{status.problem}" if status.problem else "The mesh was stopped.")
        _tell(layout, status, console, show_key=status.first_run)
        if foreground:
            follow(layout.logs, [], 0, line_printer(console))
    return 0


def _dapr(layout: Layout, console: Console) -> Path:
    try:
        binaries = ensure_dapr(layout.runtime, say=console.print)
        if layout.replicas > 1:
            ensure_daprd_for_replicas(layout.runtime, say=console.print)
        return binaries
    except DaprMissingError as error:
        raise MeshError(str(error)) from error


def _launch(layout: Layout, binaries: Path, *, attached: bool) -> subprocess.Popen[bytes]:
    layout.logs.mkdir(mode=0o700, exist_ok=True)
    layout.state_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "crewmesh_tools.mesh.supervisor", str(layout.dapr_file), str(layout.home)]
    command += [str(layout.offset), str(layout.replicas), str(binaries)]
    with layout.supervisor_log().open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=layout.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM) if attached else None,
        )


def _wait_until_settled(layout: Layout, console: Console, supervisor: subprocess.Popen[bytes] | None) -> MeshStatus:
    """Shows the start until it succeeded or failed. The supervisor bounds how long that may take."""
    with Progress(console) as progress:
        while True:
            status = read_status(layout.state_file)
            if status is not None:
                progress.update(status)
                if status.phase in ("ready", "failed", "stopped"):
                    return status
            if supervisor is not None and supervisor.poll() is not None:
                return _after_its_end(layout)
            if supervisor is None and not is_locked(layout.lock_file):
                raise MeshError("The mesh stopped in the meantime. Start it again: make run")
            time.sleep(ASK_EVERY)


def _after_its_end(layout: Layout) -> MeshStatus:
    status = read_status(layout.state_file)
    if status is not None and status.phase in ("failed", "stopped"):
        return status
    lines = b"\n".join(last_lines(layout.supervisor_log(), 20)).decode("utf-8", "replace")
    raise MeshError(f"The supervisor ended before it could say why. The end of {layout.supervisor_log()}:\n{lines}")


@contextmanager
def _interrupted_by_user(layout: Layout, console: Console, *, foreground: bool) -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if not foreground:
            console.print("\nThe mesh goes on starting in the background. See it: make status. End it: make stop")
            raise SystemExit(130) from None
        console.print()
        stop(layout, console)


def _tell(layout: Layout, status: MeshStatus, console: Console, *, show_key: bool) -> None:
    if status.phase != "ready":
        return
    known = cast("dict[str, str]", json.loads(layout.credentials_file.read_text()))
    took = f" in {status.ready_after:.1f} s" if status.ready_after is not None else ""
    key = f"{known['api_key']}  (shown this once; kept in {_shown(layout.credentials_file)})"
    lines = [
        "",
        f"Crewmesh is ready{took}.",
        "",
        f"  API      {known['api_url']}",
        f"  API key  {key if show_key else 'in ' + _shown(layout.credentials_file)}",
        f"  Mails    in {_shown(layout.mail)}, unless CREWMESH_MAIL__HOST names an SMTP server",
        f"  Try it   {_demo_command(layout)}",
        "",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
    _warn(disk_warning(layout.state), console)


def _warn(warning: str, console: Console) -> None:
    if warning:
        console.print(warning, style="yellow", soft_wrap=True)


def _demo_command(layout: Layout) -> str:
    if layout.home == layout.repository:
        return "make demo"
    return f"{Path(sys.executable)} -m crewmesh_tools.demo --home {layout.home}"


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def stop(layout: Layout, console: Console) -> int:
    if not is_locked(layout.lock_file):
        ended = clean_up(layout)
        console.print(f"Ended what was left running: {', '.join(ended)}" if ended else "Nothing is running here.")
        return 0
    status = read_status(layout.state_file)
    if status is None:
        raise MeshError(f"A mesh is running here, but {layout.state_file} is gone. Try again in a moment.")
    began = time.monotonic()
    clean = stop_supervisor(status, STOP_SECONDS)
    ended = clean_up(layout)
    took = time.monotonic() - began
    console.print(f"Stopped in {took:.1f} s. The data stays in {_shown(layout.state)}; continue with: make run")
    if not clean or ended:
        console.print(f"It had to be forced: {', '.join(ended) or 'the supervisor did not answer'}", style="yellow")
    return 0


def status(layout: Layout, console: Console, *, as_json_document: bool) -> int:
    """0 when everything is ready, 1 while it is not, 3 when nothing runs."""
    known = read_status(layout.state_file)
    running = is_locked(layout.lock_file)
    if known is None or not running:
        phase = "failed" if known is not None and known.phase == "failed" else "stopped"
        if as_json_document:
            print(as_json(known, phase) if known else json.dumps({"phase": phase, "processes": []}))
        else:
            console.print("The mesh is not running. Start it: make run")
            if known is not None and known.problem:
                console.print(known.problem, markup=False, highlight=False, soft_wrap=True)
        return 3
    warning = disk_warning(layout.state)  # asked here: a full disk keeps the supervisor from writing it down
    if as_json_document:
        print(as_json(known, known.phase, warning=warning))
    else:
        console.print(table(known, memory=True))
        _warn(warning, console)
    everything = all(process.state == "ready" for process in known.processes)
    return 0 if known.phase == "ready" and everything else 1


def logs(layout: Layout, console: Console, *, names: list[str], count: int, following: bool) -> int:
    if not layout.logs.exists():
        raise MeshError("There are no logs yet. Start the mesh first: make run")
    show = line_printer(console)
    if not following:
        show(merged(layout.logs, names, count))
        return 0
    try:
        follow(layout.logs, names, count, show)
    except KeyboardInterrupt:
        console.print()
    return 0
