"""Starting runs: acknowledged with one commit, then advanced at once by the replica that started them.

Where a slot is free, the first effect is journalled as started within that commit, and the commit takes the lease.
Otherwise the run is due at once, and the sweeper finds it a driver. After a crash right behind the commit the lease
runs out, and that is the same thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import trace_headers
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.engine import Engine, ended
from crewmesh_workflow.engine.journal import Commit, EventKey, Journal, JournalEvent, Run
from crewmesh_workflow.engine.plan import Effect, Step
from crewmesh_workflow.engine.program import InvalidDefinitionError, Program
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.turn import Turn, take_turn

Spawn = Callable[[str, Coroutine[object, object, object]], asyncio.Task[object]]

log = get_logger(__name__)


class InlineSlots:
    """How many runs this replica advances beside its requests."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    def take(self) -> bool:
        if self._free <= 0:
            return False
        self._free -= 1
        metrics.INLINE_IN_USE.inc()
        return True

    def give_back(self) -> None:
        self._free += 1
        metrics.INLINE_IN_USE.dec()


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run with its first turn taken, which holds a slot."""

    run: Run
    program: Program
    steps: dict[str, Step]
    turn: Turn


class Starter:
    def __init__(
        self,
        *,
        engine: Engine,
        journal: Journal,
        programs: Programs,
        slots: InlineSlots,
        lease_seconds: float,
        spawn: Spawn,
        handed_over: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._programs = programs
        self._slots = slots
        self._lease = lease_seconds
        self._spawn = spawn
        self._handed_over = handed_over

    @contextmanager
    def starting(self) -> Generator[Starting]:
        """Start runs in a transaction inside the block, and ``launch`` them once it is committed."""
        starting = Starting(self)
        try:
            yield starting
        finally:
            starting.forget()

    async def begin(self, conn: AsyncConnection[DictRow], run: Run, key: EventKey) -> tuple[str, _Begun | None]:
        """Write the start of ``run``. Gives the id of the run that there is now, and what is to be launched."""
        begun = await self._first_turn(conn, run)
        commit = Commit(events=[_STARTED]) if begun is None else _after_start(begun.turn.commit)
        due_in = 0.0 if begun is None else self._lease
        try:
            there = await self._journal.start(conn, run, key, commit, due_in=due_in)
        except BaseException:
            self.give_up(begun)
            raise
        if there != run.id:
            self.give_up(begun)
            return there, None
        return there, begun and replace(begun, run=replace(run, seq=len(commit.events)))

    async def _first_turn(self, conn: AsyncConnection[DictRow], run: Run) -> _Begun | None:
        """What the run does first, if there is a slot to go on from there."""
        if not self._slots.take():
            return None
        try:
            program = await self._programs.get(run.workflow, run.version, conn)
        except InvalidDefinitionError:
            self._slots.give_back()
            return None  # a driver will say so
        except BaseException:
            self._slots.give_back()
            raise
        steps: dict[str, Step] = {}
        return _Begun(run, program, steps, take_turn(program, run.trigger, steps))

    def give_up(self, begun: _Begun | None) -> None:
        if begun is not None:
            self._slots.give_back()

    def launch(self, begun: _Begun | None) -> None:
        metrics.RUNS_STARTED.inc()
        if begun is None:
            self._handed_over()
        elif isinstance(begun.turn.next, Effect):
            self._spawn(f"run {begun.run.id}", self._carry_on(begun, begun.turn.next))
        else:
            self._slots.give_back()
            ended(begun.turn.next)

    async def _carry_on(self, begun: _Begun, effect: Effect) -> None:
        run = begun.run
        try:
            await self._engine.carry_on(run, begun.program, begun.steps, effect)
        finally:
            self._slots.give_back()


class Starting:
    """The runs that one transaction starts."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter
        self._begun: list[_Begun | None] = []

    async def start(
        self, conn: AsyncConnection[DictRow], *, organization: str, workflow: str, version: int, event: CloudEvent
    ) -> str:
        """The id of the run of this workflow for this event, whether it is started now or was before."""
        run = Run(
            id=new_id("run"),
            organization=organization,
            workflow=workflow,
            version=version,
            trigger=_trigger(event, organization),
            epoch=1,
            seq=0,
            traceparent=trace_headers().get("traceparent"),
        )
        there, begun = await self._starter.begin(conn, run, EventKey(event.source, event.id))
        if there == run.id:
            self._begun.append(begun)
        return there

    def launch(self) -> None:
        """Advance what was started. Only after the commit: before it, there is nothing to advance."""
        begun, self._begun = self._begun, []
        for one in begun:
            self._starter.launch(one)

    def forget(self) -> None:
        """The transaction failed: nothing was started."""
        begun, self._begun = self._begun, []
        for one in begun:
            self._starter.give_up(one)


_STARTED = JournalEvent("run.started", {})


def _after_start(commit: Commit) -> Commit:
    return Commit(commit.steps, [_STARTED, *commit.events], commit.end)


def _trigger(event: CloudEvent, organization: str) -> JsonObject:
    """The event as expressions see it: ``data`` is always there, and the organization is whose run it is."""
    seen: JsonObject = event.model_dump(mode="json", exclude_none=True, exclude={"data"})
    return {**seen, "crewmeshorg": organization, "data": event.data}
