"""Finds runs that are due and has each of them driven: here, where there is a free slot, else by a new Dapr driver.

A run is due when its lease ran out, when it was handed over, or when what should have woken it did not. Taking it gives
the next driver a number and sets the alarm in one commit; only then is it advanced, or Dapr asked. If Dapr cannot be
asked, or loses the instance, the alarm rings and the next number is tried. Whichever instance comes first takes the
run, and the others find that the epoch has moved. So an instance that only waited long in a queue is as good as its
successor, and while nothing comes the alarms get rarer: an overloaded mesh is not fed with more and more instances.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.admission import Admission
from crewmesh_workflow.engine.outcome import DriveInput, wake_event

_BATCH = 50
# Organizations take turns; among the runs of one, those of higher priority come first.
_TAKE = """
WITH due AS (
    SELECT id, org_id, priority, due_at FROM runs WHERE due_at <= now() AND status IN ('running', 'waiting')
    ORDER BY due_at LIMIT 1000
), chosen AS (
    SELECT id FROM (SELECT id, due_at, row_number() OVER (PARTITION BY org_id ORDER BY priority DESC, due_at) AS turn
                    FROM due) AS ranked
    ORDER BY turn, due_at LIMIT %(batch)s
)
UPDATE runs SET scheduled = scheduled + 1,
    due_at = now() + make_interval(secs => %(alarm)s * least(power(2, scheduled - driver), 4))
WHERE id IN (
    SELECT id FROM runs WHERE id IN (SELECT id FROM chosen) AND due_at <= now() AND status IN ('running', 'waiting')
    FOR UPDATE SKIP LOCKED
)
RETURNING id, scheduled, epoch, traceparent, driver, status = 'waiting' AND driver > 0 AS slept
"""
_TRY_SOONER = (
    "UPDATE runs SET due_at = least(due_at, now() + make_interval(secs => %(retry)s))"
    " WHERE id = %(run)s AND scheduled = %(driver)s AND epoch = %(epoch)s AND status IN ('running', 'waiting')"
)
_SCHEDULING_SECONDS = 10.0

log = get_logger(__name__)

Schedule = Callable[[DriveInput], Awaitable[None]]
# Given a driver's instance, the event it waits for, and whether it is to leave instead of driving the run.
Raise = Callable[[str, str, bool], Awaitable[None]]


class Sweeper:
    def __init__(
        self,
        database: Database,
        schedule: Schedule,
        raise_event: Raise,
        admission: Admission,
        *,
        poll_seconds: float,
        alarm_seconds: float,
        retry_seconds: float,
    ) -> None:
        self._database = database
        self._schedule = schedule
        self._raise = raise_event
        self._admission = admission
        self._poll = poll_seconds
        self._alarm = alarm_seconds
        self._retry = retry_seconds
        self._nudged = asyncio.Event()
        self._drive_here: Callable[[DriveInput], bool] = lambda _: False
        self._after: list[Callable[[], Awaitable[None]]] = []

    def use(self, drive_here: Callable[[DriveInput], bool]) -> None:
        """``drive_here`` takes a run that is due if there is a free slot, and says whether it did."""
        self._drive_here = drive_here

    def also(self, look: Callable[[], Awaitable[None]]) -> None:
        """Look after this as well, whenever due runs are looked for."""
        self._after.append(look)

    def drive_here(self, drive: DriveInput) -> bool:
        """Have it driven in a slot of this replica; false when none is free."""
        return self._drive_here(drive)

    def nudge(self) -> None:
        """Something is due now."""
        self._nudged.set()

    async def run(self) -> None:
        while True:
            self._nudged.clear()
            try:
                await self._look()
            except DatabaseUnavailable as problem:
                log.warning("due runs are not looked for", reason=problem.detail)
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
                async with asyncio.timeout(self._poll):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        await self._admission.let_in()
        while await self.sweep() == _BATCH:
            pass
        for look in self._after:
            await look()

    async def sweep(self) -> int:
        """Take what is due now, have each driven, and say how many there were."""
        rows = await self._database.statement(_TAKE, {"alarm": self._alarm, "batch": _BATCH})
        metrics.DUE_RUNS.set(len(rows))
        drives = [
            DriveInput(run=row["id"], driver=row["scheduled"], epoch=row["epoch"], traceparent=row["traceparent"])
            for row in rows
        ]
        await asyncio.gather(*(self.hand_over(drive) for drive in drives if not self._drive_here(drive)))
        await asyncio.gather(*(self._dismiss(row["id"], row["driver"], row["epoch"]) for row in rows if row["slept"]))
        return len(drives)

    async def _dismiss(self, run: str, driver: int, epoch: int) -> None:
        """The run that a driver slept on behalf of is taken from it."""
        try:
            async with asyncio.timeout(_SCHEDULING_SECONDS):
                await self._raise(f"{run}-{driver}", wake_event(epoch), True)
        except Exception as error:
            log.info("the driver that slept was not there", run=run, driver=driver, error=repr(error))

    async def hand_over(self, drive: DriveInput) -> None:
        """Have a Dapr driver take the run, or watch over its rest."""
        try:
            async with asyncio.timeout(_SCHEDULING_SECONDS):
                await self._schedule(drive)
        except Exception as error:
            # Whatever it was, the run must not depend on it: the next alarm comes sooner.
            log.warning("driver not scheduled", run=drive.run, driver=drive.driver, error=repr(error))
            try:
                parameters = {"run": drive.run, "driver": drive.driver, "epoch": drive.epoch}
                await self._database.statement(_TRY_SOONER, {"retry": self._retry, **parameters})
            except Problem as problem:
                log.warning("the alarm rings when it was going to", run=drive.run, reason=problem.detail)
        else:
            log.info("driver scheduled", run=drive.run, driver=drive.driver, asleep=drive.sleep is not None)
