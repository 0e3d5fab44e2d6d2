"""Work beside requests: loops that must keep running, and pieces of work that must be finished.

A supervised loop that raises is logged, counted and started again after a pause that grows while it keeps failing. At
shutdown loops are cancelled; work in hand is waited for first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import TypeVar

from crewmesh_kit.logs import get_logger
from crewmesh_kit.metrics import BACKGROUND_FAILURES, WORK_IN_HAND

T = TypeVar("T")
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_HEALTHY_AFTER_SECONDS = 60.0
_CANCEL_AGAIN_SECONDS = 0.1

log = get_logger(__name__)


class Background:
    """Held by the running service as a resource; create it inside the event loop."""

    def __init__(self, *, first_pause_seconds: float = _FIRST_PAUSE_SECONDS) -> None:
        self._first_pause = first_pause_seconds
        self._loops: set[asyncio.Task[None]] = set()
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[object]] = set()

    def supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Keep ``run`` running; when it returns by itself it is done."""
        task = asyncio.create_task(self._keep_running(name, run), name=name)
        self._loops.add(task)
        task.add_done_callback(self._loops.discard)

    @contextmanager
    def hold(self) -> Generator[None]:
        """What happens inside the block is finished before the service stops, as far as the time allows."""
        self._take()
        try:
            yield
        finally:
            self._let_go()

    def start(self, name: str, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Do ``work`` beside the request, held until it is finished; what it raises is logged."""
        task: asyncio.Task[T] = asyncio.create_task(work, name=name)
        self._take()  # now, and not when the task first runs: a shutdown may come in between
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def drain(self, seconds: float) -> bool:
        """Wait for the work in hand; false when some is still not finished after ``seconds``."""
        if self._idle.is_set():
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            log.warning("work is left unfinished at shutdown", pieces=self._in_hand, waited_seconds=seconds)
            return False
        return True

    async def close(self) -> None:
        remaining: set[asyncio.Task[object]] = {*self._loops, *self._tasks}
        while remaining:
            # Again and again: a library that awaits with asyncio.wait_for (Python 3.11) can swallow a cancellation.
            for task in remaining:
                task.cancel()
            _, remaining = await asyncio.wait(remaining, timeout=_CANCEL_AGAIN_SECONDS)

    def _take(self) -> None:
        self._in_hand += 1
        self._idle.clear()
        WORK_IN_HAND.inc()

    def _let_go(self) -> None:
        WORK_IN_HAND.dec()
        self._in_hand -= 1
        if self._in_hand == 0:
            self._idle.set()

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        self._let_go()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", task=task.get_name(), exc_info=error)

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        pause = self._first_pause
        while True:
            started = time.monotonic()
            try:
                await run()
            except Exception:
                if time.monotonic() - started > _HEALTHY_AFTER_SECONDS:
                    pause = self._first_pause
                BACKGROUND_FAILURES.labels(name).inc()
                log.exception("background task failed and starts again", task=name, pause_seconds=pause)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
