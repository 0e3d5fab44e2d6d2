"""How a mesh is shown: a live table on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crewmesh_tools.mesh.logfiles import Line
from crewmesh_tools.mesh.readable import readable
from crewmesh_tools.mesh.state import MeshStatus, ProcessStatus, same_process

_COLOURS = {
    "ready": "green",
    "starting": "yellow",
    "waiting": "bright_black",
    "stopped": "bright_black",
    "stopping": "yellow",
    "restarting": "red",
    "unready": "red",
}
_PALETTE = (
    "cyan",
    "magenta",
    "green",
    "yellow",
    "blue",
    "bright_cyan",
    "bright_magenta",
    "bright_green",
    "bright_blue",
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of one process; ``total`` is its fair share with all it started, shared pages counted once."""

    rss: int
    total: int


def usage(process: ProcessStatus) -> Usage | None:
    found = same_process(process.pid, process.created)
    if found is None:
        return None
    try:
        family = [found, *found.children(recursive=True)]
        return Usage(rss=found.memory_info().rss, total=sum(_fair_share(member) for member in family))
    except psutil.NoSuchProcess:
        return None


def _fair_share(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:
        return process.memory_info().rss


def table(status: MeshStatus, *, memory: bool = False) -> Table:
    shown = Table(title=_title(status), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for heading in ("process", "state", "port", "pid", "restarts"):
        shown.add_column(heading, justify="left" if heading in ("process", "state") else "right", no_wrap=True)
    if memory:
        shown.add_column("MB", justify="right")
    shown.add_column("", overflow="ellipsis", no_wrap=True)
    for process in status.processes:
        cells = [
            process.name,
            Text(process.state, style=_COLOURS[process.state]),
            str(process.port),
            str(process.pid or ""),
            str(process.restarts or ""),
        ]
        if memory:
            used = usage(process)
            cells.append(f"{used.total / 1024**2:.0f}" if used else "")
        shown.add_row(*cells, Text(process.detail, style="bright_black"))
    return shown


def _title(status: MeshStatus) -> str:
    ready = sum(process.state == "ready" for process in status.processes)
    counted = f"{ready} of {len(status.processes)} ready" if status.processes else ""
    return " · ".join(part for part in (f"Crewmesh is {status.phase}", counted) if part)


def as_json(status: MeshStatus, phase: str, *, warning: str = "") -> str:
    """For programs: the state file plus what each process uses."""
    document = status.model_dump(mode="json")
    document |= {"phase": phase, "warning": warning}
    for process, described in zip(status.processes, document["processes"], strict=True):
        used = usage(process)
        described["rss"] = used.rss if used else None
        described["memory"] = used.total if used else None
    supervisor = same_process(status.supervisor_pid, status.supervisor_created)
    document["supervisor_rss"] = supervisor.memory_info().rss if supervisor else None
    return json.dumps(document, indent=2)


class Progress(AbstractContextManager["Progress"]):
    """Shows a mesh while it starts or stops."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._said: dict[str, str] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        (self._live or nullcontext()).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, at)

    def update(self, status: MeshStatus) -> None:
        if self._live is not None:
            self._live.update(table(status))
            return
        for process in status.processes:
            if process.state in ("ready", "restarting", "unready", "stopped"):
                self._say(process.name, process.state, process.detail)
        if status.phase == "filling":
            self._say("starter content", "waited for", "")

    def _say(self, name: str, state: str, detail: str) -> None:
        if self._said.get(name) != state:
            self._said[name] = state
            ending = f" ({detail})" if detail else ""
            self._console.print(f"{time.monotonic() - self._began:6.1f} s  {name} {state}{ending}", highlight=False)


def line_printer(console: Console) -> Callable[[Iterable[Line]], None]:
    """Prints log lines behind the coloured name of who wrote them."""
    colours: dict[str, str] = {}

    def show(lines: Iterable[Line]) -> None:
        for line in lines:
            colour = colours.setdefault(line.name, _PALETTE[len(colours) % len(_PALETTE)])
            text = Text.assemble((f"{line.name:>16} ", colour), readable(line.text))
            console.print(text, soft_wrap=True)

    return show
