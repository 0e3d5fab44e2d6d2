"""Limits on how many runs are at work: per workflow, as its definition says, and per organization.

A workflow's limit is exact: whoever starts or admits a run of it counts under a lock. An organization's limit costs
nothing while the organization is far from it: only those that were found half full a moment ago are counted.

Everybody takes locks in one order: those of workflows by their ids, then the organization's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from crewmesh_contracts.workflow import Definition
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import TooManyRequests
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine.commits import Run
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.program.errors import InvalidDefinitionError

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_AT_WORK = "SELECT count(*) AS n FROM runs WHERE org_id = %s AND status = 'running'"
_AT_WORK_OF_WORKFLOW = _AT_WORK + " AND workflow_id = %s"
_QUEUED = "SELECT count(*) AS n FROM (SELECT FROM runs WHERE org_id = %s AND status = 'queued' LIMIT %s) AS q"
_QUEUED_OF_WORKFLOW = (
    "SELECT count(*) AS n FROM (SELECT FROM runs WHERE org_id = %s AND status = 'queued' AND workflow_id = %s LIMIT 1)"
    " AS q"
)
_CROWDED = "SELECT org_id FROM runs WHERE status = 'running' GROUP BY org_id HAVING count(*) > %(half)s"
_QUEUING = "SELECT DISTINCT org_id, workflow_id FROM runs WHERE status = 'queued'"
# Where there is room: what is full is not even looked at, however much of it there is. The limit is the one of today,
# whatever version the runs are of that came while another held. A draft that was never published has its own.
_WAITING = """
WITH at_work AS (
    SELECT org_id, workflow_id, count(*) AS n FROM runs WHERE status = 'running' GROUP BY org_id, workflow_id
), queued AS (
    SELECT q.org_id, q.workflow_id, priority, min(q.id) AS first,
        coalesce(nullif(w.version, 0), max(workflow_version)) AS version
    FROM runs q JOIN workflows w ON w.id = q.workflow_id WHERE q.status = 'queued'
    GROUP BY q.org_id, q.workflow_id, priority, w.version
)
SELECT q.org_id, q.workflow_id, priority, q.version
FROM queued q LEFT JOIN workflow_versions v ON v.workflow_id = q.workflow_id AND v.version = q.version
    LEFT JOIN at_work a ON a.org_id = q.org_id AND a.workflow_id = q.workflow_id
WHERE coalesce(a.n, 0) < coalesce((v.definition #>> '{settings,concurrency,limit}')::int, %(limit)s)
    AND coalesce((SELECT sum(n) FROM at_work o WHERE o.org_id = q.org_id), 0) < %(limit)s
ORDER BY priority DESC, first LIMIT %(most)s
"""
_MOST_LOOKED_AT = 500
# The time that a run may take is counted from here, and not from when it began to queue. Those that are chosen are an
# array, for that is found once; with IN the planner may choose anew for every row, and begin them all.
_ADMIT = """
UPDATE runs SET status = 'running', due_at = now(), deadline_at = now() + (deadline_at - created_at)
WHERE id = ANY(ARRAY(
    SELECT id FROM runs WHERE org_id = %s AND workflow_id = %s AND status = 'queued' AND priority = %s
    ORDER BY id LIMIT %s FOR UPDATE
))
"""
_RETRY_AFTER_SECONDS = 5


class WorkflowBusy(TooManyRequests):
    """As many runs of this workflow are at work as its settings allow, and they say that no more may queue."""

    slug, title = "workflow-busy", "Workflow busy"


class QueueFull(TooManyRequests):
    """The organization has too many runs that wait to be begun. Try again when some of them have."""

    slug, title = "queue-full", "Queue full"


class Admission:
    def __init__(self, database: Database, programs: Programs, *, organization_limit: int, most_queued: int) -> None:
        self._database = database
        self._programs = programs
        self._limit = organization_limit
        self._most_queued = most_queued
        self._crowded: frozenset[str] = frozenset()
        # Workflows of which runs queue, and crowded organizations of which some do.
        self._waited_for: set[str] = set()

    async def admit(
        self, conn: AsyncConnection[DictRow], organization: str, workflow: str, definition: Definition, *, test: bool
    ) -> bool:
        """Whether a run may begin at once, in the transaction that starts it. If not, it queues; or it is refused."""
        # What a workflow's limit spares, a test run does not touch; and it is over at once.
        concurrency = None if test else definition.settings.concurrency
        if concurrency is not None and not await self._has_room(conn, organization, workflow, concurrency.limit):
            if concurrency.when_full == "refuse":
                raise WorkflowBusy(
                    f"Runs of this workflow at work: {concurrency.limit}, which is its limit; try again later.",
                    headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
                )
            await self._refuse_when_full(conn, organization)
            self._waited_for.add(workflow)
            return False
        if organization in self._crowded and not await self._has_place(conn, organization):
            await self._refuse_when_full(conn, organization)
            self._waited_for |= {workflow, organization}
            return False
        return True

    def is_waited_for(self, run: Run) -> bool:
        """Whether another run may wait for the place of this one, as far as is known here."""
        return run.workflow in self._waited_for or run.organization in self._waited_for

    async def take_turns(self, conn: AsyncConnection[DictRow], wanted: Iterable[tuple[str, Definition]]) -> None:
        """Before runs of several workflows begin in one transaction, for their locks come before the organization's."""
        limited = sorted(workflow for workflow, wants in wanted if wants.settings.concurrency is not None)
        for workflow in limited:
            await conn.execute(_LOCK, [workflow])

    async def _has_room(self, conn: AsyncConnection[DictRow], organization: str, workflow: str, limit: int) -> bool:
        await conn.execute(_LOCK, [workflow])
        if await _number(conn, _QUEUED_OF_WORKFLOW, organization, workflow):
            return False  # others came before
        return await _number(conn, _AT_WORK_OF_WORKFLOW, organization, workflow) < limit

    async def _has_place(self, conn: AsyncConnection[DictRow], organization: str) -> bool:
        """Whether one is left when those have begun that came before; else whoever comes would always be first."""
        free = await self._free(conn, organization)
        return free > 0 and await _number(conn, _QUEUED, organization, free) < free

    async def _free(self, conn: AsyncConnection[DictRow], organization: str) -> int:
        await conn.execute(_LOCK, [organization])
        return self._limit - await _number(conn, _AT_WORK, organization)

    async def _refuse_when_full(self, conn: AsyncConnection[DictRow], organization: str) -> None:
        if await _number(conn, _QUEUED, organization, self._most_queued) >= self._most_queued:
            raise QueueFull(
                f"Runs of this organization that wait to be begun: {self._most_queued}, which is the limit; try again"
                " later.",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )

    async def let_in(self) -> int:
        """Begin what queues, as far as the limits allow. Says how many runs there were room for."""
        rows = await self._database.statement(_CROWDED, {"half": self._limit // 2})
        self._crowded = frozenset(cast(str, row["org_id"]) for row in rows)
        queuing = await self._database.statement(_QUEUING)
        self._waited_for = {row["workflow_id"] for row in queuing} | self._crowded.intersection(
            row["org_id"] for row in queuing
        )
        if not queuing:
            return 0
        waiting = await self._database.statement(_WAITING, {"limit": self._limit, "most": _MOST_LOOKED_AT})
        return sum([await self._let_in(**row) for row in waiting])

    async def _let_in(self, org_id: str, workflow_id: str, priority: int, version: int) -> int:
        """Those of one priority, for in an organization that is crowded another workflow may have more urgent ones."""
        try:
            program = await self._programs.get(workflow_id, version)
        except InvalidDefinitionError:
            limit = 1  # its driver will say so
        else:
            concurrency = program.definition.settings.concurrency
            limit = self._limit if concurrency is None else concurrency.limit
        async with self._database.system() as conn:
            await conn.execute(_LOCK, [workflow_id])
            free = limit - await _number(conn, _AT_WORK_OF_WORKFLOW, org_id, workflow_id)
            free = min(free, await self._free(conn, org_id))
            if free <= 0:
                return 0
            return (await conn.execute(_ADMIT, [org_id, workflow_id, priority, free])).rowcount


async def _number(conn: AsyncConnection[DictRow], query: str, *parameters: str | int) -> int:
    row = await (await conn.execute(query, parameters)).fetchone()  # pyright: ignore[reportArgumentType]
    return 0 if row is None else cast(int, row["n"])
