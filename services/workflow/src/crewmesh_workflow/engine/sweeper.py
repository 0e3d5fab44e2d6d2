"""Finds runs that are due and gives each to a new Dapr driver.

A run is due when its lease ran out, when it was handed over, or when a sleeping driver overslept. Taking it gives the
next driver a number and sets the alarm in one commit; only then is Dapr asked. If Dapr cannot be asked, or loses the
instance, the alarm rings and the next number is tried. Whichever instance comes first takes the run, and the others
find that the epoch has moved. So an instance that only waited long in a queue is as good as its successor, and while
nothing comes the alarms get rarer: an overloaded mesh is not fed with more and more instances.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.outcome import DriveInput

_BATCH = 50
_TAKE = """
UPDATE runs SET scheduled = scheduled + 1,
    due_at = now() + make_interval(secs => %s * least(power(2, scheduled - driver), 4))
WHERE id IN (
    SELECT id FROM runs WHERE status = 'running' AND due_at <= now()
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING id, scheduled, epoch, traceparent
"""
_TRY_SOONER = (
    "UPDATE runs SET due_at = least(due_at, now() + make_interval(secs => %s))"
    " WHERE id = %s AND scheduled = %s AND epoch = %s AND status = 'running'"
)
_SCHEDULING_SECONDS = 10.0

log = get_logger(__name__)

Schedule = Callable[[DriveInput], Awaitable[None]]


class Sweeper:
    def __init__(
        self, database: Database, schedule: Schedule, *, poll_seconds: float, alarm_seconds: float, retry_seconds: float
    ) -> None:
        self._database = database
        self._schedule = schedule
        self._poll = poll_seconds
        self._alarm = alarm_seconds
        self._retry = retry_seconds
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Something is due now."""
        self._nudged.set()

    async def run(self) -> None:
        while True:
            self._nudged.clear()
            try:
                while await self.sweep() == _BATCH:
                    pass
            except DatabaseUnavailable as problem:
                log.warning("due runs are not looked for", reason=problem.detail)
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
                async with asyncio.timeout(self._poll):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """Take what is due now, ask Dapr to drive each, and say how many there were."""
        async with self._database.system() as conn:
            rows = await (await conn.execute(_TAKE, [self._alarm, _BATCH])).fetchall()
        metrics.DUE_RUNS.set(len(rows))
        drives = [
            DriveInput(run=row["id"], driver=row["scheduled"], epoch=row["epoch"], traceparent=row["traceparent"])
            for row in rows
        ]
        await asyncio.gather(*(self._hand_over(drive) for drive in drives))
        return len(drives)

    async def _hand_over(self, drive: DriveInput) -> None:
        try:
            async with asyncio.timeout(_SCHEDULING_SECONDS):
                await self._schedule(drive)
        except Exception as error:
            # Whatever it was, the run must not depend on it: the next alarm comes sooner.
            log.warning("driver not scheduled", run=drive.run, driver=drive.driver, error=repr(error))
            async with self._database.system() as conn:
                await conn.execute(_TRY_SOONER, [self._retry, drive.run, drive.driver, drive.epoch])
        else:
            log.info("driver scheduled", run=drive.run, driver=drive.driver)
