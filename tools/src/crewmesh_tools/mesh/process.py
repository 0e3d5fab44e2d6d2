"""One supervised process: started, asked whether it is ready, started again when it dies, stopped when told.

The wait between two starts doubles from half a second to ten and falls back once the process has stayed up for a while.
A process that keeps dying before it has ever been ready is reported, so that a start that cannot succeed ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping

from crewmesh_tools.mesh.logfiles import RotatingLog
from crewmesh_tools.mesh.output import Output
from crewmesh_tools.mesh.specs import ProcessSpec
from crewmesh_tools.mesh.state import ProcessState, ProcessStatus, created_at

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 10.0
STEADY_SECONDS = 30.0
STARTS_WITHOUT_SUCCESS = 4
ASK_WHILE_STARTING = 0.1
ASK_WHILE_READY = 3.0
UNREADY_AFTER = 2  # checks in a row

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Process:
    def __init__(self, spec: ProcessSpec, log: RotatingLog, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.log = log
        self.ready_once = asyncio.Event()
        self.hopeless = asyncio.Event()
        self.state: ProcessState = "waiting"
        self.detail = ""
        self.restarts = 0
        self.pid: int | None = None
        self._created: float | None = None
        self._changed = changed
        self._running: asyncio.subprocess.Process | None = None
        self._stop_asked = asyncio.Event()
        self._backoff = FIRST_BACKOFF
        self._starts = 0

    def status(self) -> ProcessStatus:
        return ProcessStatus(
            name=self.spec.name,
            port=self.spec.port,
            state=self.state,
            pid=self.pid,
            created=self._created,
            restarts=self.restarts,
            detail=self.detail,
        )

    async def run(self, needs: Mapping[str, Process]) -> None:
        """Until stopped. Waits for its needs before the first start only; later its own restarts bring it back."""
        for name in self.spec.needs:
            self._become("waiting", f"for {name}")
            await self._unless_stopped(needs[name].ready_once.wait())
        while not self._stopping:
            ending = await self._one_life()
            if self._stopping:
                break
            self._note(f"{self.spec.name} ended ({ending}); it is started again in {self._backoff:g} s")
            self._become("restarting", ending)
            await self._unless_stopped(asyncio.sleep(self._backoff))
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)
            self.restarts += 1

    async def stop(self) -> None:
        """Asks it to end, waits, then makes it end, with everything it started."""
        self._stop_asked.set()
        running = self._running
        if running is None or running.returncode is not None:
            self._become("stopped")
            return
        self._become("stopping")
        asked = time.monotonic()
        self._signal(running, self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_seconds):
                await running.wait()
        except TimeoutError:
            self._note(f"{self.spec.name} did not end within {self.spec.stop_seconds:g} s; it is killed")
            self.kill()
            await running.wait()
        self._note(f"{self.spec.name} stopped in {time.monotonic() - asked:.1f} s")
        self._become("stopped")

    def kill(self) -> None:
        """At once, with its whole process group."""
        if self.pid is not None:
            _signal_group(self.pid, signal.SIGKILL)

    @property
    def _stopping(self) -> bool:
        return self._stop_asked.is_set()

    async def _unless_stopped(self, something: Coroutine[None, None, object]) -> None:
        tasks = [asyncio.ensure_future(something), asyncio.ensure_future(self._stop_asked.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _one_life(self) -> str:
        self._starts += 1
        self._become("starting")
        with Output(self.log) as output:
            try:
                running = await self._spawn(output)
            except OSError as error:
                self._count_failure()
                return f"could not be started: {error.strerror or error}"
            code = await self._until_its_end(running)
        if not self.ready_once.is_set():
            self._count_failure()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    async def _until_its_end(self, running: asyncio.subprocess.Process) -> int:
        self._running, self.pid = running, running.pid
        self._created = created_at(running.pid)
        self._changed()
        began = time.monotonic()
        watching = asyncio.create_task(self._watch())
        try:
            return await running.wait()
        finally:
            watching.cancel()
            _signal_group(running.pid, signal.SIGKILL)  # nothing it started may outlive it and keep its port
            self.pid = self._created = self._running = None
            if time.monotonic() - began >= STEADY_SECONDS:
                self._backoff = FIRST_BACKOFF

    def _count_failure(self) -> None:
        if self._starts >= STARTS_WITHOUT_SUCCESS and not self._stopping:
            self.hopeless.set()

    async def _spawn(self, output: Output) -> asyncio.subprocess.Process:
        from_files = {name: path.read_text(encoding="utf-8") for name, path in self.spec.env_files.items()}
        with output.entrance() as entrance:
            return await asyncio.create_subprocess_exec(
                *self.spec.command,
                cwd=self.spec.cwd,
                env={**self.spec.env, **from_files},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=entrance,
                stderr=entrance,
                start_new_session=True,
                preexec_fn=die_with_parent(self.spec.orphan_signal),
            )

    async def _watch(self) -> None:
        """Keeps asking. The first good answer makes it ready, after the work that belongs to its start."""
        refusals = 0
        while True:
            reason = await self.spec.check()
            if reason is None:
                refusals = 0
                if self.state != "ready":
                    await self._first_answer()
            else:
                refusals += 1
                self._not_ready(reason, refusals)
            await asyncio.sleep(ASK_WHILE_READY if self.state == "ready" else ASK_WHILE_STARTING)

    async def _first_answer(self) -> None:
        if self.spec.once_up is not None and not self.ready_once.is_set():
            try:
                await self.spec.once_up()
            except Exception as error:  # whatever it is, it is told and tried again
                self._become("starting", str(error).strip().split("\n", 1)[0])
                await asyncio.sleep(0.5)
                return
        self.ready_once.set()
        self._note(f"{self.spec.name} is ready")
        self._become("ready")

    def _not_ready(self, reason: str, refusals: int) -> None:
        if self.state == "starting":
            self._become("starting", reason)
        elif refusals >= UNREADY_AFTER:
            self._become("unready", reason)

    def _become(self, state: ProcessState, detail: str = "") -> None:
        if self._stopping and state not in ("stopping", "stopped"):
            return
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self._changed()

    def _signal(self, running: asyncio.subprocess.Process, what: signal.Signals) -> None:
        try:
            running.send_signal(what)
        except ProcessLookupError:
            self._note(f"{self.spec.name} had ended already")

    def _note(self, text: str) -> None:
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", flush=True)


def die_with_parent(orphan_signal: signal.Signals) -> Callable[[], None]:
    """To run in the child before it becomes the program: the kernel signals it when its parent dies."""
    parent = os.getpid()

    def prepare() -> None:
        if _libc is None:
            return
        _libc.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _signal_group(pid: int, what: signal.Signals) -> None:
    """Every process started in the session of ``pid``; each spec runs in a session of its own."""
    try:
        os.killpg(pid, what)
    except ProcessLookupError:
        return
