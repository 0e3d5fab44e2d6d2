"""Moves runs from where their journal stands to their end, or to the point where they rest.

Whoever comes here holds the run's lease: either because it started the run just now, or because it took the run over
by raising the epoch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import bound, get_logger
from crewmesh_kit.telemetry import continued, span

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.commits import Commit, JournalEvent, LeaseLostError, Run
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.journal import Taken
from crewmesh_workflow.engine.leases import Lease
from crewmesh_workflow.engine.outcome import Done, DriveInput, Sleep, Superseded
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.slots import NoTurnError, Slots
from crewmesh_workflow.engine.steps import Failed, StepError
from crewmesh_workflow.engine.turn import Facts, Turn
from crewmesh_workflow.engine.worker import Desk, Worker
from crewmesh_workflow.program.errors import InvalidDefinitionError
from crewmesh_workflow.program.model import Program

log = get_logger(__name__)

_MOST_FAULTS = 5

# Asks for a driver that begins asleep.
HandOver = Callable[[DriveInput], Awaitable[None]]


class Engine:
    def __init__(self, desk: Desk, programs: Programs, slots: Slots, hand_over: HandOver) -> None:
        self._desk = desk
        self._slots = slots
        self._programs = programs
        self._hand_over = hand_over

    async def advance(self, drive: DriveInput, *, inline: bool = False) -> Done | Superseded | Sleep:
        """Take the run over and bring it as far as it goes. This is the activity that Dapr calls.

        ``inline``: it is called here instead, so that nobody sleeps on the run's behalf when it rests.
        """
        trace = {"traceparent": drive.traceparent} if drive.traceparent else {}
        with continued(trace), span("advance", run=drive.run, driver=drive.driver):
            taken = await self._desk.journal.acquire(drive, here=inline)
            if taken is None:
                return Done() if await self._desk.journal.has_ended(drive.run) else Superseded()
            with bound(run=taken.run.id, organization=taken.run.organization):
                return await self._resume(taken, inline=inline)

    def drive_here(self, drive: DriveInput) -> bool:
        """Have a run that is due advanced in a slot of this replica, and not through Dapr; false when none is free."""
        slot = self._slots.reserve()
        if slot is None:
            return False
        task = self._desk.spawn(f"run {drive.run}", self.advance(drive, inline=True))
        # Also of one that is cancelled before it begins.
        task.add_done_callback(lambda _: slot.give_back())
        return True

    async def carry_on(self, run: Run, execution: Execution, turn: Turn, priority: int) -> Done | Superseded | Sleep:
        """Go on with a run that was started here, whose first turn is journalled, when its turn has come.

        Superseded when it does not come soon: whoever looks next is to take the run.
        """

        async def go(lease: Lease) -> tuple[Worker, Done | Sleep]:
            async with self._slots.slot(run.organization, priority=priority):
                worker = Worker(self._desk, run, execution, lease, inline=True)
                return worker, await worker.resume_after(turn)

        with bound(run=run.id, organization=run.organization), span("advance", run=run.id, driver=0):
            return await self._under_lease(run, go, inline=True)

    async def _resume(self, taken: Taken, *, inline: bool) -> Done | Superseded | Sleep:
        run = taken.run
        try:
            program = await self._programs.get(run.workflow, run.version)
        except InvalidDefinitionError as error:
            return await self._give_up(run, StepError("invalid-definition", str(error)[:1000]))

        async def go(lease: Lease) -> tuple[Worker, Done | Sleep]:
            steps = await self._desk.journal.steps(taken)
            execution = Execution(program, facts_of(run, program), steps, run.failing)
            lease.asked, lease.arrivals = taken.asked, taken.arrivals
            arrived = await self._desk.journal.arrivals(taken.stored_arrivals)
            brought = (taken.arrivals, arrived) if taken.arrivals else None
            worker = Worker(self._desk, run, execution, lease, inline=inline, brought=brought)
            return worker, await worker.resume()

        return await self._under_lease(run, go, inline=inline)

    async def _under_lease(
        self, run: Run, go: Callable[[Lease], Awaitable[tuple[Worker, Done | Sleep]]], *, inline: bool
    ) -> Done | Superseded | Sleep:
        with self._desk.leases.hold(run) as lease:
            try:
                worker, outcome = await go(lease)
            except LeaseLostError:
                metrics.LEASES_LOST.inc()
                log.warning("the run was taken over; this worker stops", epoch=run.epoch)
                return Superseded()
            except NoTurnError:
                await self._desk.leases.hand_back(lease)
                return Superseded()
            except Exception as error:
                if isinstance(error, Problem) and error.retryable:
                    raise  # something that we need is away; the run goes on when it is back
                return await self._broke_down(run, error)
        if inline and isinstance(outcome, Sleep):
            drive = DriveInput(
                run=run.id, driver=worker.driver, epoch=run.epoch, traceparent=run.traceparent, sleep=outcome
            )
            await self._hand_over(drive)
        return outcome

    async def _broke_down(self, run: Run, error: Exception) -> Done | Superseded:
        """A mistake of the engine's own, or something that will not pass, as a payload that is lost or too large.

        The run is tried again when its lease is over, but not for ever.
        """
        fault = await self._desk.journal.broke_down(run)
        if fault is None:
            return Superseded()
        if fault.count < _MOST_FAULTS:
            raise error
        log.error("the run is given up", faults=fault.count, exc_info=error)
        why = error.detail if isinstance(error, Problem) else type(error).__name__
        told = f"The engine broke down {fault.count} times over this run ({why}); see its log."
        return await self._give_up(fault.run, StepError("internal-error", told))

    async def _give_up(self, run: Run, error: StepError) -> Done | Superseded:
        """Nobody can bring this run further, as when its definition cannot be read any more: it fails, and says so."""
        failed = Failed(None, error)
        data: JsonObject = {"node": None, "error": failed.error.as_json()}
        commit = Commit(events=[JournalEvent("run.failed", data)], end=failed)
        try:
            ack = await self._desk.journal.commit(run, commit)
        except LeaseLostError:
            return Superseded()
        await self._desk.ends.moved(ack.run, commit)
        return Done()


def facts_of(run: Run, program: Program) -> Facts:
    about: JsonObject = {
        "id": run.id,
        "workflow": run.workflow,
        "name": program.definition.name,
        "version": run.version,
        "started_at": run.started_at,
        "test": run.test,
    }
    return Facts(run.id, run.trigger, about, run.test, run.samples or {})
