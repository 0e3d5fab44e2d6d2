"""The process's connection to Dapr Workflow: gets turns and activities to do, and leaves when it gets none.

The SDK runs its own event loop in a thread. Activities hop from there to the service's own loop, where its pools and
clients live; orchestrators stay, they do no I/O.

A worker may stop for good while the process looks healthy (after its sidecar restarted, say). The sidecar knows: when
it counts no connected worker for a while, the service is not ready any more and the process leaves, to be started anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, Self, cast

from crewmesh_contracts.base import JsonValue
from dapr.ext.workflow import WorkflowRuntime
from dapr.ext.workflow.logger import LoggerOptions

from crewmesh_kit.dapr.client import tell_sdk
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.settings import DaprSettings

# sysexits.h, "internal software error": whoever runs the process starts it again.
EXIT_WORKER_LOST = 70
_LOST_AFTER_SECONDS = 20.0
_LOOK_EVERY_SECONDS = 2.0
_CONNECT_WITHIN_SECONDS = 60.0
_THREADS = 4  # for synchronous activities, of which we have none

Activity = Callable[[JsonValue], Awaitable[JsonValue]]
# A generator function over the SDK's workflow context; its exact type is the workflow's own business.
Orchestrator = Callable[..., object]

log = get_logger(__name__)


class _Runtime(Protocol):
    """The part of the SDK's runtime that is used here, with its types."""

    def register_workflow(self, fn: Orchestrator, *, name: str) -> None: ...
    def register_activity(self, fn: Callable[..., Awaitable[object]], *, name: str) -> None: ...
    def start(self) -> None: ...
    def shutdown(self) -> None: ...


def sdk_logging() -> LoggerOptions:
    """The SDK's log lines go through ours, as JSON; left alone it writes each a second time, as text."""
    return LoggerOptions(log_handler=logging.NullHandler())


def leave_process() -> None:
    """At once: a graceful end would wait for work that the lost worker can no longer report."""
    os._exit(EXIT_WORKER_LOST)


class WorkflowWorker:
    """Register, then ``async with worker.running()``; ``why_not_ready`` is its readiness check."""

    def __init__(
        self,
        dapr: DaprSettings,
        sidecar: Sidecar,
        *,
        most_activities: int = 200,
        most_turns: int = 200,
        lost_after_seconds: float = _LOST_AFTER_SECONDS,
        look_every_seconds: float = _LOOK_EVERY_SECONDS,
        leave: Callable[[], None] = leave_process,
    ) -> None:
        tell_sdk(dapr)
        self._sidecar = sidecar
        self._lost_after = lost_after_seconds
        self._look_every = look_every_seconds
        self._leave = leave
        self._lonely_since: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runtime = cast(
            _Runtime,
            WorkflowRuntime(
                host="127.0.0.1",
                port=str(dapr.grpc_port),
                maximum_concurrent_activity_work_items=most_activities,
                maximum_concurrent_orchestration_work_items=most_turns,
                maximum_thread_pool_workers=_THREADS,
                worker_ready_timeout=_CONNECT_WITHIN_SECONDS,
                logger_options=sdk_logging(),
            ),
        )

    def workflow(self, name: str, orchestrator: Orchestrator) -> None:
        # The SDK marks the function it is given and refuses it a second time; so it gets one of our own.
        def turn(ctx: object, start: object = None) -> object:
            return orchestrator(ctx, start)

        self._runtime.register_workflow(turn, name=name)

    def activity(self, name: str, run: Activity) -> None:
        async def hop(_context: object, given: object = None) -> object:
            if self._loop is None:
                raise RuntimeError("the worker is not running")
            work = _as_coroutine(run, cast(JsonValue, given))
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

        self._runtime.register_activity(hop, name=name)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Self]:
        """Connected to the sidecar, and watched."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._runtime.start)
        watch = asyncio.create_task(self._watch(), name="workflow worker watch")
        try:
            yield self
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await asyncio.to_thread(self._runtime.shutdown)

    async def why_not_ready(self) -> str | None:
        if self._lonely_since is None:
            return None
        return f"the sidecar has counted no connected workflow worker for {self._lonely_for():.0f} s"

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_every)
            try:
                connected = (await self._sidecar.metadata()).connected_workers
            except Problem as problem:
                # Without a sidecar nothing can be said; its absence is another check's concern.
                log.debug("the sidecar could not be asked for its workers", reason=problem.detail)
                continue
            self._judge(connected)

    def _judge(self, connected: int) -> None:
        if connected > 0:
            self._lonely_since = None
            return
        if self._lonely_since is None:
            self._lonely_since = time.monotonic()
        if self._lonely_for() >= self._lost_after:
            log.error("the workflow worker lost its sidecar and does not come back; the process leaves")
            self._leave()

    def _lonely_for(self) -> float:
        return 0.0 if self._lonely_since is None else time.monotonic() - self._lonely_since


async def _as_coroutine(run: Activity, given: JsonValue) -> JsonValue:
    return await run(given)
