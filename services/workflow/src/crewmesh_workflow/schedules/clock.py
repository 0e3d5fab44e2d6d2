"""The loop that starts the runs of schedules, on every replica.

A run belongs to an instant of its schedule: trigger and instant are its key, so however often an instant is come
across (two replicas, a crash between commit and answer, a clock that was set back) it has one run. What was missed
while nothing ran, or while the workflow was paused, is for the trigger's ``catch_up`` to decide.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from crewmesh_contracts.workflow.triggers.cron import CronTrigger
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import bound, get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine.admission import QueueFull, WorkflowBusy
from crewmesh_workflow.engine.commits import EventKey
from crewmesh_workflow.engine.starter import NewRun, Starter, Starting
from crewmesh_workflow.schedules import repository
from crewmesh_workflow.schedules.repository import Due, Schedule
from crewmesh_workflow.schedules.times import ScheduleError, latest_times, next_time
from crewmesh_workflow.triggers.setbacks import Setbacks

# With catch_up all, at most so many of the times that were missed are made up for: the last ones.
MOST_CAUGHT_UP = 1_000
# A time that is not longer ago than this was not missed, it is just being seen to.
ON_TIME = timedelta(seconds=60)
_STARTED_AT_ONCE = 100
_TAKEN = 50
_LOOK_AHEAD_SECONDS = 60.0
_PAGE = 500

log = get_logger(__name__)


class Clock:
    def __init__(self, database: Database, starter: Starter) -> None:
        self._database = database
        self._starter = starter
        self._setbacks = Setbacks()
        self._looked_ahead = time.monotonic()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1.0 - time.time() % 1.0)  # schedules are due when a second begins
            try:
                await self.tick()
                if time.monotonic() - self._looked_ahead >= _LOOK_AHEAD_SECONDS:
                    self._looked_ahead = time.monotonic()
                    await self.look_ahead()
            except DatabaseUnavailable as problem:
                log.warning("schedules are not looked at", reason=problem.detail)

    async def tick(self) -> None:
        """Start whatever is due."""
        while due := await repository.due(self._database, but=self._setbacks.current(), limit=_TAKEN):
            for trigger in due:
                await self._see_to(trigger)
            if len(due) < _TAKEN:
                return

    async def look_ahead(self) -> None:
        """Bring back times that a wrong clock has put too far ahead. What ran already does not run again."""
        after = ""
        while rows := await repository.ahead(self._database, after=after, limit=_PAGE):
            for row in rows:
                config = CronTrigger.model_validate(row["config"])
                if (expected := next_time(config.expression, config.timezone, row["now"])) < row["next_at"]:
                    log.warning("a schedule was ahead of the clock", trigger=row["id"], next_at=str(row["next_at"]))
                    await repository.bring_back(self._database, row, expected)
            after = rows[-1]["id"]

    async def _see_to(self, trigger: Due) -> None:
        try:
            with bound(organization=trigger.organization, trigger=trigger.id):
                while await self._start(trigger):
                    pass
        except DatabaseUnavailable:
            raise
        except Problem as problem:
            log.warning("a schedule could not start its run", trigger=trigger.id, reason=problem.detail)
            self._setbacks.note(trigger.id)
        except Exception:
            # One schedule's trouble must not keep the others from their time.
            log.exception("a schedule could not start its run", trigger=trigger.id)
            self._setbacks.note(trigger.id)

    async def _start(self, trigger: Due) -> bool:
        """Whether there is more to start."""
        with self._starter.starting() as starting:
            async with self._database.tenant(trigger.organization) as conn:
                schedule = await repository.take(conn, trigger.id)
                if schedule is None:
                    return False
                more = await self._start_due(conn, starting, trigger.organization, schedule)
            starting.launch()
        return more

    async def _start_due(
        self, conn: AsyncConnection[DictRow], starting: Starting, organization: str, schedule: Schedule
    ) -> bool:
        try:
            times, next_at = due_times(schedule.config, schedule.next_at, schedule.now)
        except ScheduleError as error:
            log.error("a schedule is never due again", trigger=schedule.id, error=str(error))
            await repository.move(conn, schedule.id, None)
            return False
        now, later = times[:_STARTED_AT_ONCE], times[_STARTED_AT_ONCE:]
        more = bool(later)
        for instant in now:
            try:
                await starting.start(conn, organization, _run_at(schedule, instant))
            except WorkflowBusy:
                # Its definition says so; the time passes without a run.
                log.info("a workflow at its limit takes no run", workflow=schedule.workflow, instant=str(instant))
            except QueueFull:
                if instant == now[0]:
                    raise
                # What was started stays so, else a queue that is smaller than a portion would never take any of it.
                later, more = [instant], False
                break
        await repository.move(conn, schedule.id, later[0] if later else next_at)
        return more


def due_times(config: CronTrigger, next_at: datetime, now: datetime) -> tuple[list[datetime], datetime]:
    """What is to be run now, and when the schedule is due next."""
    expression, timezone = config.expression, config.timezone
    most = MOST_CAUGHT_UP if config.catch_up == "all" else 1
    times = latest_times(expression, timezone, next_at, now, most)
    if config.catch_up == "none":
        times = [time for time in times if now - time <= ON_TIME]
    if len(times) == MOST_CAUGHT_UP and times[0] > next_at:
        log.warning("more times were missed than are caught up with", first=str(next_at), most=MOST_CAUGHT_UP)
    return times, next_time(expression, timezone, now)


def _run_at(schedule: Schedule, instant: datetime) -> NewRun:
    scheduled = instant.astimezone(UTC).isoformat()
    return NewRun(
        workflow=schedule.workflow,
        version=schedule.version,
        trigger={
            "kind": "cron",
            "key": schedule.key,
            "data": {"scheduled_at": scheduled, "input": schedule.config.input},
        },
        key=EventKey(f"cron/{schedule.id}", scheduled),
        origin="cron",
        started_by=schedule.id,
    )
