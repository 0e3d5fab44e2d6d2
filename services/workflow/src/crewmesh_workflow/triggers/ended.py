"""The loop that turns ends of runs into runs of the workflows that wait for them, on every replica.

An end is a row that was written together with it, and it goes in the transaction that starts the run. Workflows that
start each other do not do so for ever: each run says how many runs led to it, and there is a most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.triggers.run_ended import RunEndedTrigger
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import bound, get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine.admission import WorkflowBusy
from crewmesh_workflow.engine.children import MOST_DEPTH, depth_of
from crewmesh_workflow.engine.commits import EventKey
from crewmesh_workflow.engine.payloads import Beforehand, Payloads
from crewmesh_workflow.engine.starter import NewRun, Starter, Starting
from crewmesh_workflow.triggers.setbacks import Setbacks

_POLL_SECONDS = 1.0
_TAKEN = 50

_FOUND = """
SELECT run_id, trigger_id, org_id FROM ended_runs
WHERE NOT run_id || ' ' || trigger_id = ANY(%(but)s) ORDER BY at LIMIT %(limit)s
"""
_TAKE = "DELETE FROM ended_runs WHERE run_id = %s AND trigger_id = %s RETURNING run_id"
_TRIGGER = """
SELECT id, key, workflow_id, workflow_version, config FROM triggers
WHERE id = %s AND kind = 'run_ended' AND enabled
"""
_RUN = "SELECT id, workflow_id, status, trigger, output, error FROM runs WHERE id = %s"

# Whether, in an organization, one workflow may see the runs of another, which may be restricted.
MaySee: TypeAlias = Callable[[AsyncConnection[DictRow], str, str, str], Awaitable[bool]]

log = get_logger(__name__)


class EndedRuns:
    def __init__(self, database: Database, starter: Starter, payloads: Payloads, may_see: MaySee) -> None:
        self._database = database
        self._starter = starter
        self._payloads = payloads
        self._may_see = may_see
        self._setbacks = Setbacks()

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except DatabaseUnavailable as problem:
                log.warning("ended runs are not looked for", reason=problem.detail)
            await asyncio.sleep(_POLL_SECONDS)

    async def sweep(self) -> None:
        """Start a run for every end that somebody waits for."""
        while rows := await self._database.statement(_FOUND, {"but": self._setbacks.current(), "limit": _TAKEN}):
            for row in rows:
                await self._see_to(row)
            if len(rows) < _TAKEN:
                return

    async def _see_to(self, row: DictRow) -> None:
        beforehand = Beforehand()
        try:
            with bound(organization=row["org_id"], run=row["run_id"]), self._starter.starting() as starting:
                await self._payloads.at_hand(beforehand, lambda: self._begin(starting, row, beforehand))
                starting.launch()
        except DatabaseUnavailable:
            raise
        except Problem as problem:
            log.warning("a run's end could not start a run", trigger=row["trigger_id"], reason=problem.detail)
            self._setbacks.note(f"{row['run_id']} {row['trigger_id']}")
        except Exception:
            # One end's trouble must not hold up the others.
            log.exception("a run's end could not start a run", trigger=row["trigger_id"])
            self._setbacks.note(f"{row['run_id']} {row['trigger_id']}")

    async def _begin(self, starting: Starting, row: DictRow, beforehand: Beforehand) -> None:
        async with self._database.tenant(row["org_id"]) as conn:
            await self._start(conn, starting, row, Payloads(beforehand))

    async def _start(
        self, conn: AsyncConnection[DictRow], starting: Starting, row: DictRow, payloads: Payloads
    ) -> None:
        run, trigger = row["run_id"], row["trigger_id"]
        if await (await conn.execute(_TAKE, [run, trigger])).fetchone() is None:
            return  # another replica has done it
        wanted = await (await conn.execute(_TRIGGER, [trigger])).fetchone()
        ended = await (await conn.execute(_RUN, [run])).fetchone()
        if wanted is None or ended is None:
            return
        if ended["status"] not in RunEndedTrigger.model_validate(wanted["config"]).statuses:
            return
        if not await self._may_see(conn, row["org_id"], wanted["workflow_id"], ended["workflow_id"]):
            log.info("a workflow waits for runs that it may not see", trigger=trigger, workflow=ended["workflow_id"])
            return
        depth = depth_of(await payloads.fetch(ended["trigger"])) + 1
        if depth > MOST_DEPTH:
            log.warning("workflows start each other in a circle; it ends here", trigger=trigger, depth=depth)
            return
        new = NewRun(
            workflow=wanted["workflow_id"],
            version=wanted["workflow_version"],
            trigger=_told(wanted["key"], depth, ended, await payloads.fetch(ended["output"])),
            key=EventKey(f"run_ended/{trigger}", run),
            origin="run_ended",
            started_by=trigger,
        )
        try:
            await starting.start(conn, row["org_id"], new)
        except WorkflowBusy:
            log.info("a workflow at its limit takes no run", workflow=new.workflow)  # its definition says so


def _told(key: str, depth: int, ended: DictRow, output: JsonObject | None) -> JsonObject:
    data: JsonObject = {
        "run": ended["id"],
        "workflow": ended["workflow_id"],
        "status": ended["status"],
        "output": output,
        "error": ended["error"],
    }
    return {"kind": "run_ended", "key": key, "depth": depth, "data": data}
