"""The parts of the engine, put together: for the service, for tests, and for the benchmark."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from crewmesh_kit.db.database import Database

from crewmesh_workflow.engine.effects import Caller
from crewmesh_workflow.engine.engine import Engine
from crewmesh_workflow.engine.journal import Journal
from crewmesh_workflow.engine.leases import Leases
from crewmesh_workflow.engine.payloads import Blobs, Payloads
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.starter import InlineSlots, Spawn, Starter
from crewmesh_workflow.engine.sweeper import Schedule, Sweeper
from crewmesh_workflow.nodes.base import EffectKinds
from crewmesh_workflow.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class Assembly:
    engine: Engine
    starter: Starter
    sweeper: Sweeper
    leases: Leases
    programs: Programs
    payloads: Payloads
    journal: Journal


def assemble(
    settings: EngineSettings,
    *,
    database: Database,
    caller: Caller,
    blobs: Blobs,
    kinds: EffectKinds,
    schedule: Schedule,
    spawn: Spawn,
    moved: Callable[[str], Awaitable[None]],
) -> Assembly:
    """``leases.run`` and ``sweeper.run`` must be kept running for it to live."""
    payloads = Payloads(blobs)
    journal = Journal(database, payloads)
    programs = Programs(database, kinds)
    leases = Leases(database, seconds=settings.lease_seconds, beat_seconds=settings.lease_seconds / 3)
    sweeper = Sweeper(
        database,
        schedule,
        poll_seconds=settings.sweep_seconds,
        alarm_seconds=settings.alarm_seconds,
        retry_seconds=settings.schedule_retry_seconds,
    )
    engine = Engine(
        journal=journal, programs=programs, leases=leases, caller=caller, moved=moved, handed_over=sweeper.nudge
    )
    starter = Starter(
        engine=engine,
        journal=journal,
        programs=programs,
        slots=InlineSlots(settings.inline_slots),
        lease_seconds=settings.lease_seconds,
        spawn=spawn,
        handed_over=sweeper.nudge,
    )
    return Assembly(engine, starter, sweeper, leases, programs, payloads, journal)
