"""The parts of the engine, put together: for the service, for tests, and for the benchmark."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database

from crewmesh_workflow.engine.admission import Admission
from crewmesh_workflow.engine.children import Children, MayStart
from crewmesh_workflow.engine.commits import Run
from crewmesh_workflow.engine.control import Control
from crewmesh_workflow.engine.effects import Caller, CodeRunner, Reach
from crewmesh_workflow.engine.ends import Ends
from crewmesh_workflow.engine.engine import Engine
from crewmesh_workflow.engine.journal import Journal
from crewmesh_workflow.engine.leases import Leases
from crewmesh_workflow.engine.payloads import Blobs, Payloads
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.slots import Slots
from crewmesh_workflow.engine.starter import Starter
from crewmesh_workflow.engine.sweeper import Raise, Schedule, Sweeper
from crewmesh_workflow.engine.worker import Desk, Spawn
from crewmesh_workflow.nodes.base import NodeKinds
from crewmesh_workflow.settings import EngineSettings, RetentionSettings


@dataclass(frozen=True, slots=True)
class Outside:
    """What the engine needs of the world around it.

    ``schedule`` asks for a driver, ``raise_event`` wakes one. ``moved`` is told every run that moved; ``look`` has all
    replicas look at the leases they hold. ``may_start`` says which workflows a run may start.
    """

    database: Database
    caller: Caller
    sandbox: CodeRunner
    blobs: Blobs
    kinds: NodeKinds
    schedule: Schedule
    raise_event: Raise
    spawn: Spawn
    moved: Callable[[str], Awaitable[None]]
    look: Callable[[], Awaitable[None]]
    may_start: MayStart


@dataclass(frozen=True, slots=True)
class Assembly:
    engine: Engine
    starter: Starter
    control: Control
    ends: Ends
    admission: Admission
    sweeper: Sweeper
    leases: Leases
    programs: Programs
    payloads: Payloads
    journal: Journal

    @property
    def loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What must be kept running for it to live."""
        return {
            "leases": self.leases.run,
            "sweeper": self.sweeper.run,
            "control": self.control.run,
            "orphans": self.control.look_for_orphans,
        }


def assemble(settings: EngineSettings, retention: RetentionSettings, outside: Outside) -> Assembly:
    database = outside.database
    payloads = Payloads(outside.blobs)
    journal = Journal(database, payloads, lease_seconds=settings.lease_seconds, keep_days=retention.days)
    programs = Programs(database, outside.kinds)
    leases = Leases(database, seconds=settings.lease_seconds, beat_seconds=settings.lease_seconds / 3)
    slots = Slots(settings.inline_slots, queue=settings.inline_queue)
    admission = Admission(
        database, programs, organization_limit=settings.organization_runs, most_queued=settings.organization_queue
    )
    sweeper = _sweeper(settings, outside, admission)
    control = Control(
        database,
        raise_event=outside.raise_event,
        look=outside.look,
        nudge=sweeper.nudge,
        drive_here=sweeper.drive_here,
    )
    ends = Ends(
        database,
        payloads,
        outside.moved,
        over=lambda run: control.child_ended() if run.parent else None,
        leaves=lambda run: sweeper.nudge() if admission.is_waited_for(run) else None,
    )

    async def start_child(run: Run, path: str, workflow: str, inputs: JsonObject) -> str:
        return await children.start(run, path, workflow, inputs)

    reach = Reach(outside.caller, outside.sandbox, start_child)
    desk = Desk(journal, leases, reach, ends, outside.spawn, control.cancel_children)
    engine = Engine(desk, programs, slots, sweeper.hand_over)
    starter = Starter(
        engine=engine,
        journal=journal,
        programs=programs,
        admission=admission,
        slots=slots,
        ends=ends,
        sweeper=sweeper,
        spawn=outside.spawn,
        lease_seconds=settings.lease_seconds,
    )
    children = Children(database, starter, outside.may_start)
    sweeper.use(engine.drive_here)
    sweeper.also(control.tell_parents)
    return Assembly(engine, starter, control, ends, admission, sweeper, leases, programs, payloads, journal)


def _sweeper(settings: EngineSettings, outside: Outside, admission: Admission) -> Sweeper:
    return Sweeper(
        outside.database,
        outside.schedule,
        outside.raise_event,
        admission,
        poll_seconds=settings.sweep_seconds,
        alarm_seconds=settings.alarm_seconds,
        retry_seconds=settings.schedule_retry_seconds,
    )
