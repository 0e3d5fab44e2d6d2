"""The journal: what a run has done, written so that nothing is lost or doubled, and only by who holds the lease.

One commit is one statement. It takes the run's row only if epoch and sequence are still what this worker knows, and
journals steps, events and the end of the run beside it. Nothing matched means either that the lease is lost, or that
this very commit went through before the connection broke; the sequence tells which.

All times are the database's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, LiteralString, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import RunCompleted, RunEvent, RunFailed, RunStarted
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database, persistently
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic_core import to_json

from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.payloads import Payloads
from crewmesh_workflow.engine.plan import Failed, Finished, Step, StepError, StepStatus

EventType = Literal[
    "run.started",
    "step.started",
    "step.completed",
    "step.skipped",
    "step.failed",
    "step.retrying",
    "run.completed",
    "run.failed",
]

# The journalled statement needs a CTE ``run`` with id, org_id and the sequence before this commit.
_STEPS_AND_EVENTS: LiteralString = """
step AS (
    INSERT INTO steps (run_id, node_id, org_id, position, status, attempt, input, output, port, error,
                       retry_at, started_at, finished_at)
    SELECT run.id, s.node, run.org_id, s.position, s.status, s.attempt, s.input, s.output, s.port, s.error,
           now() + make_interval(secs => s.retry_in), now(), CASE WHEN s.status <> 'running' THEN now() END
    FROM run, jsonb_to_recordset(%(steps)s::jsonb)
         AS s(node text, position int, status text, attempt int, input jsonb, output jsonb, port text, error jsonb,
              retry_in float8)
    ON CONFLICT (run_id, node_id) DO UPDATE SET
        status = excluded.status, attempt = excluded.attempt, output = excluded.output, port = excluded.port,
        error = excluded.error, retry_at = excluded.retry_at, finished_at = excluded.finished_at
), event AS (
    INSERT INTO run_events (run_id, seq, org_id, type, data, at)
    SELECT run.id, %(seq)s + e.n, run.org_id, e.type, e.data, now()
    FROM run, jsonb_to_recordset(%(events)s::jsonb) AS e(n int, type text, data jsonb)
)
"""
_MATCH: LiteralString = "WHERE id = %(run)s AND epoch = %(epoch)s AND seq = %(seq)s AND status = 'running'"


def _commit_sql(assignments: LiteralString) -> LiteralString:
    return (
        "WITH run AS (UPDATE runs SET seq = seq + %(count)s"
        + assignments
        + " "
        + _MATCH
        + " RETURNING id, org_id),"
        + _STEPS_AND_EVENTS
        + "SELECT id FROM run"
    )


_COMMIT = _commit_sql("")
_COMMIT_AND_WAIT = _commit_sql(", due_at = now() + make_interval(secs => %(due_in)s)")
_COMMIT_END = _commit_sql(
    ", status = %(status)s, output = %(output)s::jsonb, error = %(error)s::jsonb, due_at = NULL, finished_at = now()"
)

# The claim on the event comes first, so that a second delivery, even in parallel, starts nothing.
_START: LiteralString = (
    """
WITH claimed AS (
    INSERT INTO event_starts (org_id, event_key, workflow_id, run_id)
    VALUES (%(org)s, %(event_key)s, %(workflow)s, %(run)s)
    ON CONFLICT DO NOTHING RETURNING run_id
), run AS (
    INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, output, error, epoch, due_at, seq,
                      traceparent, finished_at)
    SELECT run_id, %(org)s, %(workflow)s, %(version)s, %(status)s, %(trigger)s::jsonb, %(output)s::jsonb,
           %(error)s::jsonb, 1, CASE WHEN %(status)s = 'running' THEN now() + make_interval(secs => %(due_in)s) END,
           %(count)s, %(traceparent)s, CASE WHEN %(status)s <> 'running' THEN now() END
    FROM claimed RETURNING id, org_id
),"""
    + _STEPS_AND_EVENTS
    + "SELECT id FROM run"
)
_STARTED_BEFORE = (
    "SELECT run_id FROM event_starts"
    " WHERE org_id = %(org)s AND event_key = %(event_key)s AND workflow_id = %(workflow)s"
)

# A driver may take the run when it had it last, or when nobody took it since the driver was asked for.
_ACQUIRE = (
    "UPDATE runs SET epoch = epoch + 1, driver = %(driver)s, due_at = now() + make_interval(secs => %(lease)s)"
    " WHERE id = %(run)s AND (driver = %(driver)s OR epoch = %(epoch)s) AND status = 'running'"
    " RETURNING id, org_id, workflow_id, workflow_version, trigger, traceparent, epoch, seq"
)
_STEPS = (
    "SELECT node_id, status, attempt, input, output, port, error,"
    " extract(epoch FROM retry_at - clock_timestamp())::float8 AS retry_in FROM steps WHERE run_id = %s"
)


class LeaseLostError(Exception):
    """Somebody else drives the run, or it has ended; what this worker wanted to write is not written."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a worker must know of a run to advance it. ``seq`` moves with every commit."""

    id: str
    organization: str
    workflow: str
    version: int
    trigger: JsonObject
    epoch: int
    seq: int
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class JournalEvent:
    type: EventType
    data: JsonObject


@dataclass(frozen=True, slots=True)
class JournalStep:
    """A step as it now is, and its place in the program."""

    step: Step
    position: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What became true since the last commit. ``due_in`` gives the lease away until then."""

    steps: Sequence[JournalStep] = ()
    events: Sequence[JournalEvent] = ()
    end: Finished | Failed | None = None
    due_in: float | None = None


@dataclass(frozen=True, slots=True)
class EventKey:
    """What makes an event the same event."""

    source: str
    id: str

    def digest(self) -> str:
        return hashlib.sha256(to_json([self.source, self.id])).hexdigest()


@dataclass(frozen=True, slots=True)
class _Ending:
    """The end of a run as it is written and told."""

    status: str
    output: str | None = None
    error: str | None = None
    told: RunEvent | None = None


@dataclass(frozen=True, slots=True)
class _Record:
    """A commit as parameters of the statement, and the event that goes out with it."""

    parameters: dict[str, str | int | float | None]
    told: RunEvent | None


class Journal:
    def __init__(self, database: Database, payloads: Payloads) -> None:
        self._database = database
        self._payloads = payloads

    async def start(
        self, conn: AsyncConnection[DictRow], run: Run, key: EventKey, commit: Commit, *, due_in: float
    ) -> str:
        """Start ``run`` in the caller's transaction. Gives the id of the run that this event started, now or before."""
        record = await self._record(run, commit)
        parameters = record.parameters | {
            "org": run.organization,
            "event_key": key.digest(),
            "workflow": run.workflow,
            "version": run.version,
            "trigger": to_json(run.trigger).decode(),
            "traceparent": run.traceparent,
            "due_in": due_in,
        }
        cursor = await conn.execute(_START, parameters)
        if await cursor.fetchone() is None:
            before = await (await conn.execute(_STARTED_BEFORE, parameters)).fetchone()
            # The claim that stood in the way is committed, so it is there to be read.
            return run.id if before is None else cast(str, before["run_id"])
        await outbox.add(conn, RunStarted.model_validate(_about(run)))
        if record.told is not None:
            await outbox.add(conn, record.told)
        return run.id

    async def commit(self, run: Run, commit: Commit) -> Run:
        """Write it, however long the database is away; LeaseLostError when it is not ours to write any more."""
        record = await self._record(run, commit)
        parameters = record.parameters | {"epoch": run.epoch, "due_in": commit.due_in}
        statement = _COMMIT if commit.due_in is None else _COMMIT_AND_WAIT
        statement = statement if commit.end is None else _COMMIT_END

        async def write() -> None:
            async with self._database.system() as conn:
                if await (await conn.execute(statement, parameters)).fetchone() is None:
                    await self._refuse_unless_written(conn, run, len(commit.events))
                elif record.told is not None:
                    await outbox.add(conn, record.told)

        await persistently(write)
        return replace(run, seq=run.seq + len(commit.events))

    async def acquire(self, drive: DriveInput, *, lease: float) -> tuple[Run, dict[str, Step]] | None:
        """Take the run over from whoever had it; None when it is not this driver's to take."""
        parameters = {"run": drive.run, "driver": drive.driver, "epoch": drive.epoch, "lease": lease}
        async with self._database.system() as conn:
            row = await (await conn.execute(_ACQUIRE, parameters)).fetchone()
            if row is None:
                return None
            steps = await (await conn.execute(_STEPS, [drive.run])).fetchall()
        return _run(row), await self._steps(steps)

    async def has_ended(self, run_id: str) -> bool:
        async with self._database.system() as conn:
            row = await (await conn.execute("SELECT status FROM runs WHERE id = %s", [run_id])).fetchone()
        return row is None or row["status"] != "running"

    async def _refuse_unless_written(self, conn: AsyncConnection[DictRow], run: Run, count: int) -> None:
        """Whether the commit that matched nothing is one whose confirmation was lost on the way."""
        row = await (await conn.execute("SELECT epoch, seq FROM runs WHERE id = %s", [run.id])).fetchone()
        if row is None or (row["epoch"], row["seq"]) != (run.epoch, run.seq + count):
            raise LeaseLostError(run.id)

    async def _record(self, run: Run, commit: Commit) -> _Record:
        ending = await self._ending(run, commit.end)
        events = [{"n": n, "type": event.type, "data": event.data} for n, event in enumerate(commit.events, start=1)]
        return _Record(
            {
                "run": run.id,
                "seq": run.seq,
                "count": len(commit.events),
                "steps": to_json([await self._step_row(entry) for entry in commit.steps]).decode(),
                "events": to_json(events).decode(),
                "status": ending.status,
                "output": ending.output,
                "error": ending.error,
            },
            ending.told,
        )

    async def _ending(self, run: Run, end: Finished | Failed | None) -> _Ending:
        if end is None:
            return _Ending("running")
        if isinstance(end, Finished):
            output = await self._payloads.stow(end.output)
            told = RunCompleted.model_validate({**_about(run), "output": output})
            return _Ending("completed", output=to_json(output).decode(), told=told)
        error = to_json({"node": end.node, "type": end.error.type, "detail": end.error.detail}).decode()
        told = RunFailed.model_validate({**_about(run), "node": end.node, "error": end.error.detail})
        return _Ending("failed", error=error, told=told)

    async def _step_row(self, entry: JournalStep) -> JsonObject:
        step = entry.step
        row: JsonObject = {"node": step.node, "position": entry.position, "status": step.status}
        row |= {"attempt": step.attempt, "port": step.port, "retry_in": step.retry_in}
        if step.status == "running" and step.input is not None:
            row["input"] = await self._payloads.stow(step.input)
        if step.output is not None:
            row["output"] = await self._payloads.stow(step.output)
        if step.error is not None:
            row["error"] = {"type": step.error.type, "detail": step.error.detail}
        return row

    async def _steps(self, rows: Sequence[DictRow]) -> dict[str, Step]:
        inputs = await self._payloads.fetch_all([row["input"] if row["status"] == "running" else None for row in rows])
        outputs = await self._payloads.fetch_all([row["output"] for row in rows])
        return {
            row["node_id"]: Step(
                node=row["node_id"],
                status=cast(StepStatus, row["status"]),
                attempt=row["attempt"],
                input=input_,
                output=output,
                port=row["port"],
                error=None if row["error"] is None else StepError(**row["error"]),
                retry_in=row["retry_in"],
            )
            for row, input_, output in zip(rows, inputs, outputs, strict=True)
        }


def _run(row: DictRow) -> Run:
    return Run(
        id=row["id"],
        organization=row["org_id"],
        workflow=row["workflow_id"],
        version=row["workflow_version"],
        trigger=row["trigger"],
        epoch=row["epoch"],
        seq=row["seq"],
        traceparent=row["traceparent"],
    )


def _about(run: Run) -> JsonObject:
    return {
        "organization": run.organization,
        "run": run.id,
        "workflow": run.workflow,
        "workflow_version": run.version,
    }
