"""Starting runs: acknowledged with one commit, then advanced at once by the replica that started them.

The first turn is taken before the commit and written with it: a run that needs no effect and no wait has ended when it
is acknowledged. Where this replica has no room, or the turn cannot be taken or holds what has to be stowed, the run is
due at once, and the sweeper finds it somebody; as when its place at work does not come free soon. After a crash right
behind the commit the lease runs out, and that is the same thing.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import after_commit
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import mark, trace_headers
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.admission import Admission, QueueFull, WorkflowBusy
from crewmesh_workflow.engine.commits import Commit, EventKey, JournalEvent, Run
from crewmesh_workflow.engine.ends import Ended, Ends, ended_by
from crewmesh_workflow.engine.engine import Engine, facts_of
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.journal import Journal
from crewmesh_workflow.engine.outcome import DriveInput, Sleep, Superseded
from crewmesh_workflow.engine.payers import PaidBy
from crewmesh_workflow.engine.payloads import Beforehand, LargePayloadError
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.records import Record
from crewmesh_workflow.engine.resting import given_away, only_waits, sleep_of, worth_a_driver
from crewmesh_workflow.engine.slots import Slots
from crewmesh_workflow.engine.steps import Step
from crewmesh_workflow.engine.sweeper import Sweeper
from crewmesh_workflow.engine.turn import Turn
from crewmesh_workflow.engine.turns import commit_of, name_waits
from crewmesh_workflow.engine.worker import Spawn
from crewmesh_workflow.program.errors import InvalidDefinitionError
from crewmesh_workflow.program.model import Program

Origin = Literal["event", "api", "webhook", "cron", "run_ended", "child", "rerun", "fork", "test"]
_FIRST_DRIVER = 1
# A step of another run that is taken over as it is.
CopiedStep = Step

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What is to be started. ``key``: there is one run per workflow and key, for ever; none: every start is another.

    ``copied``: steps of another run, taken over as done; one that is running will be done, with the input it has.
    ``beforehand``: what of that is large. ``payer``: in whose name it works; none: in that of ``started_by``.
    """

    workflow: str
    version: int
    trigger: JsonObject
    origin: Origin
    key: EventKey | None = None
    started_by: str = ""
    test: bool = False
    samples: JsonObject | None = None
    priority: int | None = None
    source_run: str | None = None
    parent_run: str | None = None
    parent_path: str | None = None
    copied: tuple[CopiedStep, ...] = ()
    beforehand: Beforehand = field(default_factory=Beforehand)
    payer: PaidBy | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The run there is now. ``ended``: it has ended, or answered, within its start."""

    run: str
    new: bool
    ended: Ended | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run with its first turn taken, to be advanced here, or, where it only waits, to be slept for."""

    run: Run
    execution: Execution
    turn: Turn
    commit: Commit
    priority: int
    asleep: Sleep | None = None


class Starter:
    def __init__(
        self,
        *,
        engine: Engine,
        journal: Journal,
        programs: Programs,
        admission: Admission,
        slots: Slots,
        ends: Ends,
        sweeper: Sweeper,
        spawn: Spawn,
        lease_seconds: float,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._programs = programs
        self._admission = admission
        self._slots = slots
        self._ends = ends
        self._sweeper = sweeper
        self._spawn = spawn
        self._lease = lease_seconds

    @contextmanager
    def starting(self) -> Generator[Starting]:
        """Start runs in a transaction inside the block, and ``launch`` them once it is committed."""
        yield Starting(self)

    async def take_turns(self, conn: AsyncConnection[DictRow], new: Sequence[NewRun]) -> None:
        """Before several are begun in one transaction: whoever waits for a lock of theirs, waits here."""
        programs = [(each.workflow, await self._program(conn, each)) for each in new]
        await self._admission.take_turns(conn, [(id_, program.definition) for id_, program in programs if program])

    async def begin(
        self, conn: AsyncConnection[DictRow], organization: str, new: NewRun
    ) -> tuple[Started, _Begun | None]:
        """Write the start. Gives the run that there is now, and what is to be launched."""
        run, program = _run(organization, new), await self._program(conn, new)
        first, status, priority = None, "running", new.priority
        if program is not None:
            priority = program.definition.settings.priority if priority is None else priority
            try:
                definition = program.definition
                admitted = await self._admission.admit(conn, organization, new.workflow, definition, test=new.test)
            except (WorkflowBusy, QueueFull):
                # What starts for a key again is no new run, so that no limit can be in its way.
                if (before := await self._journal.started_before(conn, run, new.key)) is None:
                    raise
                return Started(before, new=False), None
            if admitted:
                first = await self._first_turn(run, program, new, priority)
            else:
                status = "queued"
        begun, made = first or (None, await self._first_record(run, new, status))
        there = await self._journal.start(conn, run, made, self._parameters(new, status, program, priority, begun))
        if there != run.id:
            return Started(there, new=False), None
        after_commit(conn, self._journal.nudge_outbox)
        ended = None if begun is None else ended_by(begun.commit)
        return Started(there, new=True, ended=ended), begun

    async def _first_turn(self, run: Run, program: Program, new: NewRun, priority: int) -> tuple[_Begun, Record] | None:
        """Nothing where it cannot be taken, or where there is no room here for what follows: the run is due at once."""
        try:
            begun = _begun(run, program, new, priority)
            if begun.turn.end is None and begun.asleep is None and not self._slots.room():
                return None
            keep_days = program.definition.settings.retention_days
            return begun, await self._journal.first_record(run, begun.commit, new.beforehand, keep_days=keep_days)
        except LargePayloadError:
            return None  # whoever takes the run stows it, and this transaction does not wait for that
        except Exception:
            # The database is not asked for any of this, so the transaction goes on, in which others may start as well.
            # Whoever takes the run breaks down over it too, and that is counted.
            log.exception("a run starts without its first turn", run=run.id, workflow=run.workflow)
            return None

    async def _first_record(self, run: Run, new: NewRun, status: str) -> Record:
        return await self._journal.first_record(run, _start_commit(new, status), new.beforehand)

    async def _program(self, conn: AsyncConnection[DictRow], new: NewRun) -> Program | None:
        try:
            return await self._programs.get(new.workflow, new.version, conn)
        except InvalidDefinitionError:
            return None  # whoever drives the run will say so

    def _parameters(
        self, new: NewRun, status: str, program: Program | None, priority: int | None, begun: _Begun | None
    ) -> dict[str, str | int | float | None]:
        parameters: dict[str, str | int | float | None] = {
            "event_key": None if new.key is None else new.key.digest(),
            "due_in": 0.0 if begun is None else self._lease,
            "driver": 0,
            "timeout": None if program is None else program.definition.settings.timeout_seconds,
            "priority": 5 if priority is None else priority,
            "origin": new.origin,
            "started_by": new.started_by,
            "source_run": new.source_run,
            "parent_run": new.parent_run,
            "parent_path": new.parent_path,
        }
        if begun is not None and begun.commit.rest is not None:
            return {**parameters, "status": "waiting", "due_in": begun.commit.rest.due_in, "driver": _FIRST_DRIVER}
        return parameters if status == "running" else {**parameters, "status": status}

    def launch(self, started: Started, begun: _Begun | None) -> None:
        metrics.RUNS_STARTED.inc()
        mark("run started", run=started.run)
        if begun is None:
            self._sweeper.nudge()
            return
        self._spawn(f"run {started.run}", self._carry_on(begun))

    async def _carry_on(self, begun: _Begun) -> None:
        await self._ends.moved(begun.run, begun.commit)
        if begun.asleep is not None:
            await self._sweeper.hand_over(_driver_of(begun.run, begun.asleep))
        elif begun.turn.end is None:
            outcome = await self._engine.carry_on(begun.run, begun.execution, begun.turn, begun.priority)
            if isinstance(outcome, Superseded):
                self._sweeper.nudge()  # it may be due for somebody


class Starting:
    """The runs that one transaction starts."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter
        self._begun: list[tuple[Started, _Begun | None]] = []

    async def take_turns(self, conn: AsyncConnection[DictRow], new: Sequence[NewRun]) -> None:
        """Before several are started, so that two transactions do not wait for each other."""
        if len(new) > 1:
            await self._starter.take_turns(conn, new)

    async def start(self, conn: AsyncConnection[DictRow], organization: str, new: NewRun) -> Started:
        """The run of this occurrence, whether it is started now or was before."""
        started, begun = await self._starter.begin(conn, organization, new)
        if started.new:
            self._begun.append((started, begun))
        return started

    def launch(self) -> None:
        """Advance what was started. Only after the commit: before it, there is nothing to advance."""
        begun, self._begun = self._begun, []
        for started, one in begun:
            self._starter.launch(started, one)


def _run(organization: str, new: NewRun) -> Run:
    return Run(
        id=new_id("run"),
        organization=organization,
        workflow=new.workflow,
        version=new.version,
        trigger=new.trigger,
        epoch=1,
        seq=0,
        traceparent=trace_headers().get("traceparent"),
        started_at=datetime.now(UTC).isoformat(),
        test=new.test,
        samples=new.samples,
        parent=new.parent_run,
        payer=new.payer or PaidBy(by=new.started_by or None),
    )


def _begun(run: Run, program: Program, new: NewRun, priority: int) -> _Begun:
    left = program.definition.settings.timeout_seconds
    run = replace(run, left=left)
    execution = Execution(program, facts_of(run, program), {step.path: step for step in new.copied})
    turn = execution.begin()
    name_waits(turn, execution.steps)
    commit = commit_of(program, turn)
    taken_over = [step for step in new.copied if step.path not in turn.changed]
    commit = replace(commit, steps=[*taken_over, *commit.steps], events=[_started(new), *commit.events])
    asleep, seconds = None, _seconds_left(execution, left)
    if only_waits(execution, turn) and worth_a_driver(seconds):
        commit, asleep = given_away(commit, seconds, to_new_driver=True), sleep_of(run.epoch, seconds)
    return _Begun(replace(run, seq=len(commit.events)), execution, turn, commit, priority, asleep)


def _seconds_left(execution: Execution, left: float | None) -> float | None:
    """Until the clock brings something: the end of a wait, or of the time that the run has."""
    waits = (execution.steps[path].wait for path in execution.waiting)
    return min((at for at in (left, *(wait.seconds for wait in waits if wait)) if at is not None), default=None)


def _driver_of(run: Run, asleep: Sleep) -> DriveInput:
    return DriveInput(run=run.id, driver=_FIRST_DRIVER, epoch=run.epoch, traceparent=run.traceparent, sleep=asleep)


def _start_commit(new: NewRun, status: str) -> Commit:
    queued = [JournalEvent("run.queued", {})] if status == "queued" else []
    return Commit(steps=new.copied, events=[_started(new), *queued])


def _started(new: NewRun) -> JournalEvent:
    data: JsonObject = {"origin": new.origin}
    if new.source_run is not None:
        data["source_run"] = new.source_run
    return JournalEvent("run.started", data)
