"""What reaches a run from outside: something it waits for arrived, or somebody wants it paused, resumed or cancelled.

All of it happens in the caller's transaction. What follows from it follows after the commit: whoever holds the run is
told to look, and whoever sleeps on its behalf is woken. Should that be lost, the row's ``due_at`` rings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database, DatabaseUnavailable, after_commit
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import cancelled
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic_core import to_json

from crewmesh_workflow.engine.outcome import DriveInput, wake_event
from crewmesh_workflow.engine.sweeper import Raise

# Whoever is to be woken must have taken the run within this time.
_WAKE_SECONDS = 10.0
_AT_ONCE = 16
_RAISING_SECONDS = 5.0
_ORPHANS_SECONDS = 2.0

# Who sleeps on the run's behalf is driver ``driver``, on the event of this epoch. A paused run stays paused.
# The run is locked first, and the wait then read as it is by now: its time may have been found to be over meanwhile.
_ARRIVE = """
WITH run AS (
    SELECT id FROM runs WHERE id = %s AND finished_at IS NULL FOR NO KEY UPDATE
), wait AS (
    SELECT w.id, w.run_id, w.path, w.org_id FROM run JOIN waits w ON w.run_id = run.id
    WHERE w.path = %s AND w.status = 'open' FOR NO KEY UPDATE OF w
), arrived AS (
    INSERT INTO arrivals (wait_id, run_id, path, org_id, data)
    SELECT id, run_id, path, org_id, %s::jsonb FROM wait ON CONFLICT DO NOTHING RETURNING run_id
)
UPDATE runs r SET arrivals = r.arrivals + 1,
    due_at = CASE WHEN r.status = 'waiting' THEN now() + make_interval(secs => %s) ELSE r.due_at END
FROM arrived WHERE r.id = arrived.run_id RETURNING r.id, r.status, r.driver, r.epoch
"""
_CANCEL = """
UPDATE runs SET asked = 'cancel',
    due_at = CASE status WHEN 'waiting' THEN now() + make_interval(secs => %s) WHEN 'running' THEN due_at
                         ELSE now() END,
    status = CASE WHEN status IN ('queued', 'paused') THEN 'running' ELSE status END
WHERE id = %s AND finished_at IS NULL RETURNING id, status, driver, epoch
"""
_PAUSE_WORKER = """
UPDATE runs SET asked = 'pause' WHERE id = %s AND status = 'running' AND asked IS NULL
RETURNING id, status, driver, epoch
"""
_PAUSE_WAITING = """
WITH run AS (
    UPDATE runs SET status = 'paused', due_at = NULL, seq = seq + 1
    WHERE id = %s AND status = 'waiting' AND asked IS NULL
    RETURNING id, org_id, seq, driver, epoch
), event AS (
    INSERT INTO run_events (run_id, seq, org_id, type, data, at)
    SELECT id, seq, org_id, 'run.paused', '{}', now() FROM run
)
SELECT id, 'paused' AS status, driver, epoch FROM run
"""
_RESUME = """
WITH run AS (
    UPDATE runs SET status = 'running', asked = NULL, due_at = now(), seq = seq + 1 WHERE id = %s AND status = 'paused'
    RETURNING id, org_id, seq, driver, epoch
), event AS (
    INSERT INTO run_events (run_id, seq, org_id, type, data, at)
    SELECT id, seq, org_id, 'run.resumed', '{}', now() FROM run
)
SELECT id, 'resumed' AS status, driver, epoch FROM run
"""
_NOT_PAUSED_YET = "UPDATE runs SET asked = NULL WHERE id = %s AND asked = 'pause' RETURNING id, status, driver, epoch"
_DUE_NOW = (
    "UPDATE runs SET due_at = now() WHERE id = %(run)s AND epoch = %(epoch)s AND status = 'waiting'"
    " AND due_at IS NOT NULL"
)
_CHILDREN = "SELECT id, org_id, finished_at FROM runs WHERE parent_run = %(run)s AND parent_path = %(path)s"
# A child is started after the commit with the wait for it, and a wait that was closed is never open again. By and by,
# for there may be very many; what ended long ago costs nothing, and an answer is two looks by primary key.
_PAGE_OF_CHILDREN = 1_000
_LIVE_CHILDREN = """
SELECT id, org_id, coalesce(
    (SELECT w.status FROM waits w WHERE w.run_id = c.parent_run AND w.path = c.parent_path) = 'open'
    AND (SELECT p.finished_at IS NULL FROM runs p WHERE p.id = c.parent_run), false) AS waited_for
FROM runs c
WHERE parent_run IS NOT NULL AND finished_at IS NULL AND asked IS DISTINCT FROM 'cancel' AND id > %(after)s
ORDER BY id LIMIT %(limit)s
"""
_TO_TELL = """
SELECT id, org_id, parent_run, parent_path, status, output, error FROM runs
WHERE parent_run IS NOT NULL AND finished_at IS NOT NULL AND NOT parent_told ORDER BY id LIMIT 100
"""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Sleeper:
    run: str
    driver: int
    epoch: int


class Control:
    def __init__(
        self,
        database: Database,
        *,
        raise_event: Raise,
        look: Callable[[], Awaitable[None]],
        nudge: Callable[[], None],
        drive_here: Callable[[DriveInput], bool],
    ) -> None:
        """``look`` has the holders of leases look at their rows, on every replica; ``nudge`` has due runs looked for;
        ``drive_here`` has a run driven by this replica if it has a free slot."""
        self._database = database
        self._raise = raise_event
        self._look = look
        self._nudge = nudge
        self._drive_here = drive_here
        self._to_wake: asyncio.Queue[_Sleeper] = asyncio.Queue()
        self._to_look = asyncio.Event()
        self._looked_up_to = ""

    async def arrive(self, conn: AsyncConnection[DictRow], run: str, path: str, data: JsonObject) -> bool:
        """``data`` came for the step that waits there. False: nothing waits there (any more), or something had come."""
        return await self._told(conn, _ARRIVE, [run, path, to_json(data).decode(), _WAKE_SECONDS])

    async def cancel(self, conn: AsyncConnection[DictRow], run: str) -> bool:
        """End it; what it has under way is stopped. False: it has ended already."""
        return await self._told(conn, _CANCEL, [_WAKE_SECONDS, run])

    async def pause(self, conn: AsyncConnection[DictRow], run: str) -> bool:
        """Begin nothing new. What is under way comes to its end first. False: it is neither at work nor waiting."""
        return await self._told(conn, _PAUSE_WAITING, [run]) or await self._told(conn, _PAUSE_WORKER, [run])

    async def resume(self, conn: AsyncConnection[DictRow], run: str) -> bool:
        """Go on where it was paused. False: it is not paused."""
        return await self._told(conn, _RESUME, [run]) or await self._told(conn, _NOT_PAUSED_YET, [run])

    async def _told(self, conn: AsyncConnection[DictRow], statement: str, parameters: list[object]) -> bool:
        row = await (await conn.execute(statement, parameters)).fetchone()  # pyright: ignore[reportArgumentType]
        if row is None:
            return False
        after_commit(conn, lambda: self._follow_up(row))
        return True

    def _follow_up(self, row: DictRow) -> None:
        status = cast(str, row["status"])
        if status == "waiting":
            self._to_wake.put_nowait(_Sleeper(row["id"], row["driver"], row["epoch"]))
        elif status in ("running", "resumed"):
            self._nudge()
            self._to_look.set()

    # Background

    async def run(self) -> None:
        """Do what follows, for ever."""
        tasks = [asyncio.create_task(self._have_looked())]
        tasks += [asyncio.create_task(self._wake()) for _ in range(_AT_ONCE)]
        try:
            # Not a task group: it passes on the first cancellation only, and clients may swallow that.
            await asyncio.gather(*tasks)
        finally:
            await cancelled(tasks)

    async def _have_looked(self) -> None:
        while True:
            await self._to_look.wait()
            self._to_look.clear()
            await self._look()

    async def _wake(self) -> None:
        while True:
            sleeper = await self._to_wake.get()
            # Here it goes on at once; the driver that slept has nothing to do any more.
            here = self._drive_here(DriveInput(run=sleeper.run, driver=sleeper.driver, epoch=sleeper.epoch))
            try:
                async with asyncio.timeout(_RAISING_SECONDS):
                    await self._raise(f"{sleeper.run}-{sleeper.driver}", wake_event(sleeper.epoch), here)
            except Exception as error:
                # Whatever it was, the run must not depend on it: it is due at once, for anybody.
                log.warning("a driver could not be woken", run=sleeper.run, driver=sleeper.driver, error=repr(error))
                if not here:
                    await self._make_due(sleeper)

    async def _make_due(self, sleeper: _Sleeper) -> None:
        try:
            await self._database.statement(_DUE_NOW, {"run": sleeper.run, "epoch": sleeper.epoch})
        except Problem as problem:
            log.warning("the alarm rings when it was going to", run=sleeper.run, reason=problem.detail)
        self._nudge()

    # Runs and their children

    def child_ended(self) -> None:
        """A run that another waits for has ended here."""
        self._nudge()

    async def tell_parents(self) -> None:
        """Tell the runs that wait for others whose end nobody has told them yet."""
        while True:
            rows = await self._database.statement(_TO_TELL)
            for row in rows:
                async with self._database.tenant(row["org_id"]) as conn:
                    data: JsonObject = {"run": row["id"], "status": row["status"]}
                    data |= {"output": row["output"], "error": row["error"]}
                    await self.arrive(conn, row["parent_run"], row["parent_path"], data)
                    await conn.execute("UPDATE runs SET parent_told = true WHERE id = %s", [row["id"]])
            if len(rows) < 100:
                return

    async def cancel_children(self, run: str, path: str) -> bool:
        """Nobody wants what the step waits for any more. False: there never was a run of it."""
        children = await self._database.statement(_CHILDREN, {"run": run, "path": path})
        await self._cancel_all(child for child in children if child["finished_at"] is None)
        return bool(children)

    async def _cancel_all(self, runs: Iterable[DictRow]) -> None:
        for run in runs:
            async with self._database.tenant(run["org_id"]) as conn:
                await self.cancel(conn, run["id"])

    async def look_for_orphans(self) -> None:
        """For ever."""
        while True:
            try:
                await self.cancel_orphans()
            except DatabaseUnavailable as problem:
                log.warning("runs that nobody waits for any more are not looked for", reason=problem.detail)
            await asyncio.sleep(_ORPHANS_SECONDS)

    async def cancel_orphans(self) -> None:
        """Cancel runs that nobody waits for any more, in the next page of all children.

        ``cancel_children`` did not reach them: it was lost, or it came before them; or the engine gave up their parent.
        """
        page = {"after": self._looked_up_to, "limit": _PAGE_OF_CHILDREN}
        rows = await self._database.statement(_LIVE_CHILDREN, page)
        if orphans := [row for row in rows if not row["waited_for"]]:
            log.info("runs that nobody waits for any more are cancelled", runs=[orphan["id"] for orphan in orphans])
            await self._cancel_all(orphans)
        self._looked_up_to = rows[-1]["id"] if len(rows) == _PAGE_OF_CHILDREN else ""
