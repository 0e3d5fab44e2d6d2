"""The journal: what runs have done, written so that nothing is lost or doubled, and only by who holds the lease.

A commit is taken only if epoch and sequence of the run are still what its worker knows. Nothing matched means either
that the lease is lost, or that this very commit went through before the connection broke; the sequence tells which.
Commits of many runs travel together: while one statement is under way, those that come wait and go with the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.db.database import Database, persistently
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic_core import to_json

from crewmesh_workflow.engine.commits import Ack, Commit, EventKey, LeaseLostError, Run, Wish
from crewmesh_workflow.engine.journal_sql import (
    ACQUIRE,
    ARRIVED,
    BROKE_DOWN,
    CHILDREN,
    COMMIT,
    COMMIT_ALL,
    EXPIRE,
    HOLD,
    START,
    STARTED_BEFORE,
    STEPS,
)
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.payers import NOBODY, PaidBy
from crewmesh_workflow.engine.payloads import Beforehand, Payloads
from crewmesh_workflow.engine.records import Record, merged, record, stored_failure
from crewmesh_workflow.engine.steps import Step, StepError, StepStatus
from crewmesh_workflow.nodes.base import WaitFor, WaitKind

_MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Taken:
    """A run that was taken over: its row, its steps as they are stored, how much has arrived for it, and what it is
    asked to do.

    ``stored_arrivals``: what of it is for steps that still wait.
    """

    run: Run
    stored_steps: Sequence[DictRow]
    arrivals: int
    stored_arrivals: Sequence[DictRow]
    asked: Wish | None


@dataclass(frozen=True, slots=True)
class Fault:
    """How often the engine broke down over a run, and the run as far as its journal goes."""

    count: int
    run: Run


@dataclass(frozen=True, slots=True)
class _Pending:
    run: Run
    record: Record
    count: int
    done: asyncio.Future[Ack]


class Journal:
    def __init__(self, database: Database, payloads: Payloads, *, lease_seconds: float, keep_days: int) -> None:
        self._database = database
        self._payloads = payloads
        self._lease = lease_seconds
        self._keep_days = keep_days
        self._pending: list[_Pending] = []
        self._writing: asyncio.Task[None] | None = None

    async def commit(self, run: Run, commit: Commit, *, keep_days: int | None = None) -> Ack:
        """Write it, however long the database is away; LeaseLostError when it is not ours to write any more."""
        made = await record(run, commit, self._payloads, keep_days=keep_days or self._keep_days)
        made.run.update(self._fence(run, commit))
        pending = _Pending(run, made, len(commit.events), asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="journal")
        # The commit goes on when its worker is cancelled: it may be half way to the disk.
        return await asyncio.shield(pending.done)

    def _fence(self, run: Run, commit: Commit) -> JsonObject:
        rest = commit.rest
        row: JsonObject = {"epoch": run.epoch, "seq": run.seq, "count": len(commit.events)}
        row |= {"rests": rest is not None, "obeyed": commit.obeyed, "due_in": None if rest is None else rest.due_in}
        row["new_driver"] = int(rest is not None and rest.to_new_driver)
        if rest is not None:
            row["status"] = "paused" if rest.paused else "waiting"
            # What arrives for a paused run is looked at when it goes on.
            row["arrivals"] = None if rest.paused else run.arrivals
        return row

    async def _write(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:_MOST_AT_ONCE], self._pending[_MOST_AT_ONCE:]
            # In the order in which others lock several runs as well.
            batch.sort(key=lambda each: each.run.id)
            try:
                await self._write_batch(batch)
            except Exception as error:
                await self._write_singly(batch, error)

    async def _write_singly(self, batch: Sequence[_Pending], error: Exception) -> None:
        """One of them may be at fault: let the others through."""
        if len(batch) == 1:
            if not batch[0].done.done():
                batch[0].done.set_exception(error)
            return
        for each in batch:
            try:
                await self._write_batch([each])
            except Exception as its_own:
                each.done.set_exception(its_own)

    async def _write_batch(self, batch: Sequence[_Pending]) -> None:
        parameters = merged([each.record for each in batch])
        parameters["runs"] = to_json([each.record.run for each in batch]).decode()
        outside = any(each.record.outside for each in batch)

        async def write() -> dict[str, DictRow]:
            rows = await self._database.statement(COMMIT_ALL if outside else COMMIT, parameters)
            return {row["id"]: row for row in rows}

        written = await persistently(write)
        if outside:
            self._database.outbox_filled.set()
        missing = [each for each in batch if each.run.id not in written]
        if missing:
            written |= await self._written_before(missing)
        for each in batch:
            row = written.get(each.run.id)
            if row is None:
                each.done.set_exception(LeaseLostError(each.run.id))
            else:
                each.done.set_result(_ack(each, row))

    async def _written_before(self, missing: Sequence[_Pending]) -> dict[str, DictRow]:
        """Those of the commits that matched nothing whose confirmation was lost on the way."""

        async def read() -> list[DictRow]:
            return await self._database.statement(
                "SELECT id, epoch, seq, status, asked, arrivals, driver FROM runs WHERE id = ANY(%(runs)s)",
                {"runs": [each.run.id for each in missing]},
            )

        there = {row["id"]: row for row in await persistently(read)}
        wanted = {each.run.id: (each.run.epoch, each.run.seq + each.count) for each in missing if each.count}
        return {id_: row for id_, row in there.items() if wanted.get(id_) == (row["epoch"], row["seq"])}

    async def first_record(
        self, run: Run, commit: Commit, beforehand: Beforehand, *, keep_days: int | None = None
    ) -> Record:
        """The commit of a start, ready to be written. What is wrong with what it holds comes out here.

        LargePayloadError when that is large, and not at hand.
        """
        keep_days = keep_days or self._keep_days
        return await record(run, commit, Payloads(beforehand), keep_days=keep_days, starting=True)

    async def start(
        self, conn: AsyncConnection[DictRow], run: Run, made: Record, start: Mapping[str, str | int | float | None]
    ) -> str:
        """Start ``run`` in the caller's transaction. Gives the run that this occurrence started, now or before.

        ``start`` holds the parameters of START that are neither the run's nor its first commit's.
        """
        row = made.run
        parameters = {
            **merged([made]),
            "run": run.id,
            "org": run.organization,
            "workflow": run.workflow,
            "version": run.version,
            "trigger": to_json(run.trigger).decode(),
            "traceparent": run.traceparent,
            "started_at": run.started_at,
            "test": run.test,
            "samples": _json(run.samples),
            "payer": run.payer.model_dump_json(),
            "count": len(made.tables["events"]),
            "keep_days": cast(int | None, row["keep_days"]),
            **{name: _json(row[name]) for name in ("output", "error", "failure", "response")},
            "status": row["status"],
            "over": row["over"],
            **start,
        }
        cursor = await conn.execute(START, parameters)
        if await cursor.fetchone() is not None:
            return run.id
        # The claim that stood in the way is committed, so it is there to be read.
        return await _started_before(conn, parameters) or run.id

    async def started_before(self, conn: AsyncConnection[DictRow], run: Run, key: EventKey | None) -> str | None:
        """The run that the occurrence with this key started before, where ``run`` would be started now."""
        if key is None:
            return None
        occurrence = {"org": run.organization, "workflow": run.workflow, "event_key": key.digest()}
        return await _started_before(conn, occurrence)

    def nudge_outbox(self) -> None:
        """After the commit of a transaction that started runs."""
        self._database.outbox_filled.set()

    async def acquire(self, drive: DriveInput, *, here: bool = False) -> Taken | None:
        """Take the run over from whoever had it; None when it is not this driver's to take.

        ``here``: it is driven by this replica and not by that driver.
        """
        parameters: dict[str, object] = {"run": drive.run, "driver": drive.driver, "epoch": drive.epoch}
        parameters |= {"lease": self._lease, "here": int(here)}
        run = {"run": drive.run}

        async def take() -> list[list[DictRow]]:
            # One after the other, so that the steps are those that the last one to have the run has written.
            return await self._database.statements((ACQUIRE, parameters), (STEPS, run), (ARRIVED, run))

        # Should the first take have gone through unconfirmed, its driver takes the run again; here, its lease runs out.
        taken, steps, arrived = await persistently(take)
        if not taken:
            return None
        (row,) = taken
        return Taken(_run(row), steps, row["arrivals"], arrived, row["asked"])

    async def broke_down(self, run: Run) -> Fault | None:
        """Count a breakdown of the engine over this run; nothing when the run is not ours any more."""
        rows = await self._database.statement(BROKE_DOWN, {"run": run.id, "epoch": run.epoch})
        return Fault(rows[0]["faults"], replace(run, seq=rows[0]["seq"])) if rows else None

    async def arrived(self, run: str) -> dict[str, JsonObject]:
        """What has arrived for steps that wait."""
        return await self.arrivals(await persistently(lambda: self._database.statement(ARRIVED, {"run": run})))

    async def expire(self, run: Run, waits: Sequence[str]) -> set[str]:
        """Close those of the waits for which nothing came, so that nothing can come any more; the paths of these."""
        parameters = {"run": run.id, "epoch": run.epoch, "waits": [*waits]}
        held, closed = await persistently(lambda: self._database.statements((HOLD, parameters), (EXPIRE, parameters)))
        if not held:
            raise LeaseLostError(run.id)
        return {row["path"] for row in closed}

    async def children(self, run: str) -> set[str]:
        """The paths of the steps that have started a run. There may be very many, so they are looked up together."""
        rows = await persistently(lambda: self._database.statement(CHILDREN, {"run": run}))
        return {row["parent_path"] for row in rows}

    async def has_ended(self, run_id: str) -> bool:
        rows = await self._database.statement("SELECT finished_at FROM runs WHERE id = %(run)s", {"run": run_id})
        return not rows or rows[0]["finished_at"] is not None

    async def steps(self, taken: Taken) -> dict[str, Step]:
        """The steps of a run that was taken over, with what is large about them."""
        rows = taken.stored_steps
        inputs = await self._payloads.fetch_all([None if _is_over(row) else row["input"] for row in rows])
        outputs = await self._payloads.fetch_all([row["output"] for row in rows])
        return {
            row["path"]: _step(row, input_, output) for row, input_, output in zip(rows, inputs, outputs, strict=True)
        }

    async def arrivals(self, rows: Sequence[DictRow]) -> dict[str, JsonObject]:
        """What arrived, by the path of the step that waited for it."""
        return {row["path"]: await self._whole(row["data"]) for row in rows}

    async def _whole(self, data: JsonObject) -> JsonObject:
        """The end of a child brings its output as its row has it. Nothing else that arrives names a run."""
        output = data.get("output")
        if "run" not in data or not isinstance(output, dict):
            return data
        return {**data, "output": await self._payloads.fetch(output)}


async def _started_before(conn: AsyncConnection[DictRow], occurrence: Mapping[str, object]) -> str | None:
    row = await (await conn.execute(STARTED_BEFORE, occurrence)).fetchone()
    return None if row is None else cast(str, row["run_id"])


def _is_over(row: DictRow) -> bool:
    return row["finished"] is not None


def _step(row: DictRow, input_: JsonObject | None, output: JsonObject | None) -> Step:
    return Step(
        path=row["path"],
        status=cast(StepStatus, row["status"]),
        attempt=row["attempt"],
        number=row["position"],
        input=input_,
        output=output,
        ports=tuple(row["port"].split(",")) if row["port"] else (),
        error=None if row["error"] is None else StepError(**row["error"]),
        retry_in=row["retry_in"],
        rounds=row["rounds"],
        finished=row["finished"],
        wait=_wait(row),
        wait_id=row["wait_id"],
    )


def _wait(row: DictRow) -> WaitFor | None:
    if row["wait_kind"] is None:
        return None
    return WaitFor(
        kind=cast(WaitKind, row["wait_kind"]),
        request=row["wait_request"],
        seconds=row["wait_seconds"],
        event_type=row["event_type"],
        event_key=row["event_key"],
    )


def _ack(pending: _Pending, row: DictRow) -> Ack:
    run = replace(pending.run, seq=pending.run.seq + pending.count)
    rests = row["status"] in ("waiting", "paused")
    return Ack(run, row["asked"], row["arrivals"], rests, row["driver"])


def _json(value: JsonValue) -> str | None:
    return None if value is None else to_json(value).decode()


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
        started_at=row["created_at"].isoformat(),
        test=row["test"],
        samples=row["samples"],
        arrivals=-1 if row["arrivals"] else 0,  # nothing of it was looked at here
        left=row["left"],
        failing=stored_failure(row["failure"]),
        parent=row["parent_run"],
        payer=NOBODY if row["payer"] is None else PaidBy.model_validate(row["payer"]),
        was_paused=row["was_paused"],
    )


__all__ = ["Ack", "Commit", "EventKey", "Journal", "LeaseLostError", "Run", "Taken"]
