"""The process that owns all others: starts them in the order of their needs, restarts what dies, stops in reverse.

It runs detached, holds the mesh's lock for its whole life and writes what it knows to the state file. If it is killed,
the kernel ends its children; what the kernel may miss is cleaned up by the next ``up`` or ``stop`` (see leftovers.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import GATEWAY_PORT, Layout
from crewmesh_tools.mesh.logfiles import RotatingLog, last_lines
from crewmesh_tools.mesh.plan import Plan, make_plan
from crewmesh_tools.mesh.process import Process
from crewmesh_tools.mesh.readable import readable
from crewmesh_tools.mesh.reaping import adopt_orphans, reap
from crewmesh_tools.mesh.specs import ProcessSpec
from crewmesh_tools.mesh.starter import wait_for_starter_content
from crewmesh_tools.mesh.state import MeshStatus, Phase, created_at, holding_lock, write_status

START_SECONDS = 300.0
HOUSEKEEPING_SECONDS = 5.0
LAST_WORDS_SECONDS = 5.0
SHOWN_LOG_LINES = 12


class Supervisor:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._began = time.time()
        self._phase: Phase = "preparing"
        self._problem = ""
        self._ready_after: float | None = None
        self._first_run = not layout.seeded_marker.exists()
        self._processes: dict[str, Process] = {}
        self._stop = asyncio.Event()
        self._me = os.getpid()
        self._created = created_at(self._me) or self._began

    async def run(self, plan: Callable[[], Plan]) -> int:
        """Until told to stop or the start turns out to be hopeless; the exit status says which."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        self._save()
        try:
            made = await asyncio.to_thread(plan)
            await self._live(made)
        except MeshError as error:
            self._problem = str(error)
        except Exception as error:  # whatever it was, the children are stopped by now and it must be told
            self._problem = _our_mistake(error)
        self._phase = "failed" if self._problem else "stopped"
        self._save()
        return 1 if self._problem else 0

    async def _live(self, plan: Plan) -> None:
        adopt_orphans()
        running = self._start(plan.specs)
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            if await self._unless_stopped(asyncio.create_task(self._readiness(plan))):
                await self._stop.wait()
        finally:
            housekeeping.cancel()
            await self._stop_all()
            await asyncio.wait(running, timeout=LAST_WORDS_SECONDS)

    def _start(self, specs: Sequence[ProcessSpec]) -> list[asyncio.Task[None]]:
        for spec in specs:
            log = RotatingLog(self._layout.logs / f"{spec.name}.log")
            self._processes[spec.name] = Process(spec, log, self._save)
        self._enter("starting")
        tasks = [asyncio.create_task(process.run(self._processes)) for process in self._processes.values()]
        for task in tasks:
            task.add_done_callback(self._supervision_ended)
        return tasks

    def _supervision_ended(self, task: asyncio.Task[None]) -> None:
        """A process without supervision is worse than none: a mistake of ours ends the mesh, and is told."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._problem = _our_mistake(error)
            self._stop.set()

    async def _unless_stopped(self, work: asyncio.Task[None]) -> bool:
        stop = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work in done:
            work.result()
            return True
        work.cancel()
        return False

    async def _readiness(self, plan: Plan) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._all_ready()
                if self._first_run:
                    self._enter("filling")
                    await self._fill(plan)
        except TimeoutError:
            raise MeshError(self._what_is_late()) from None
        self._ready_after = time.time() - self._began
        self._enter("ready")

    async def _all_ready(self) -> None:
        ready = asyncio.create_task(self._everyone())
        hopeless = [asyncio.create_task(self._fails(process)) for process in self._processes.values()]
        try:
            await asyncio.wait([ready, *hopeless], return_when=asyncio.FIRST_COMPLETED)
            for task in hopeless:
                if task.done():
                    task.result()
        finally:
            for task in (ready, *hopeless):
                task.cancel()

    async def _everyone(self) -> None:
        for process in self._processes.values():
            await process.ready_once.wait()

    async def _fails(self, process: Process) -> None:
        await process.hopeless.wait()
        raise MeshError(f"{process.spec.name} cannot be started ({process.detail}).\n{self._tail(process.spec.name)}")

    async def _fill(self, plan: Plan) -> None:
        if "gateway" in self._processes:
            port = self._layout.port(GATEWAY_PORT)
            await wait_for_starter_content(port, plan.secrets["first-run-api-key"])
        self._layout.seeded_marker.touch()

    def _what_is_late(self) -> str:
        late = [process for process in self._processes.values() if not process.ready_once.is_set()]
        if not late:
            return f"The starter content did not appear within {START_SECONDS:g} s. See what is wrong: make logs"
        reasons = "\n".join(f"  {process.spec.name}: {process.state} {process.detail}" for process in late)
        # Who has died is more telling than who still waits, an app more than the sidecar that waits for it.
        first = max(late, key=lambda process: (process.state != "waiting", process.restarts, process.spec.tier))
        return f"Not ready within {START_SECONDS:g} s:\n{reasons}\n{self._tail(first.spec.name)}"

    def _tail(self, name: str) -> str:
        path = self._layout.logs / f"{name}.log"
        lines = [readable(line)[:400] for line in last_lines(path, SHOWN_LOG_LINES)]
        return "\n".join([f"The end of {path}:", *(f"  | {line}" for line in lines)])

    async def _stop_all(self) -> None:
        """The highest tier first, all of a tier together: apps finish while their sidecars still carry them."""
        self._enter("stopping")
        by_tier = sorted(self._processes.values(), key=lambda process: -process.spec.tier)
        for _, tier in groupby(by_tier, key=lambda process: process.spec.tier):
            await asyncio.gather(*(process.stop() for process in tier))
        for process in self._processes.values():
            process.log.close()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            reap({process.pid for process in self._processes.values() if process.pid is not None})

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._save()

    def status(self) -> MeshStatus:
        return MeshStatus(
            phase=self._phase,
            supervisor_pid=self._me,
            supervisor_created=self._created,
            started_at=self._began,
            ready_after=self._ready_after,
            first_run=self._first_run,
            api_url=self._layout.api_url,
            problem=self._problem,
            processes=tuple(process.status() for process in self._processes.values()),
        )

    def _save(self) -> None:
        try:
            write_status(self._layout.state_file, self.status())
        except OSError as error:  # a full disk must not take the mesh down
            print(f"the state file could not be written: {error.strerror}", flush=True)


def _our_mistake(error: BaseException) -> str:
    return "The supervisor failed; please report this.\n" + "".join(traceback.format_exception(error))


def supervise(layout: Layout, binaries: Path) -> int:
    try:
        with holding_lock(layout.lock_file):
            return asyncio.run(Supervisor(layout).run(lambda: make_plan(layout, binaries)))
    except MeshError as error:  # somebody else was quicker
        print(error, flush=True)
        return 1


def main() -> int:
    """``up`` starts this as a program of its own; it is not meant to be called by hand."""
    dapr_file, home, offset, replicas, binaries = sys.argv[1:]
    return supervise(Layout(Path(dapr_file), Path(home), int(offset), int(replicas)), Path(binaries))


if __name__ == "__main__":
    sys.exit(main())
