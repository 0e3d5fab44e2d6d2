"""Moves a run from where its journal stands to its end, or to the point where it must wait.

One loop for all: do the effect, plan what follows, commit both as one, do the next. The commit that journals an effect
journals the start of the next as well, so five effects cost six commits. Whoever comes here holds the run's lease,
either because it started the run just now, or because it took the run over by raising the epoch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.base import EffectNode
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import bound, get_logger
from crewmesh_kit.telemetry import continued, span

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.effects import Caller, attempt
from crewmesh_workflow.engine.journal import Commit, Journal, JournalEvent, LeaseLostError, Run
from crewmesh_workflow.engine.leases import Lease, Leases
from crewmesh_workflow.engine.outcome import Done, DriveInput, Sleep, Superseded
from crewmesh_workflow.engine.plan import Effect, Failed, Finished, Step, StepError
from crewmesh_workflow.engine.program import InvalidDefinitionError, Program
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.retry import AskAgain, GiveUp, TryAgain, after_failure
from crewmesh_workflow.engine.turn import journalled, step_event, take_turn

# A wait up to this long is slept here; a longer one gives the lease away.
LONGEST_NAP_SECONDS = 2.0
# A driver that sleeps must have woken up this long after its time, or the watchdog takes the run.
_OVERSLEEP_SECONDS = 30.0

log = get_logger(__name__)


@dataclass(slots=True)
class Work:
    """A run in hand: what the journal holds of it, and the lease under which it may be written."""

    run: Run
    program: Program
    steps: dict[str, Step]
    lease: Lease
    inline: bool = False


class Engine:
    def __init__(
        self,
        *,
        journal: Journal,
        programs: Programs,
        leases: Leases,
        caller: Caller,
        moved: Callable[[str], Awaitable[None]],
        handed_over: Callable[[], None],
    ) -> None:
        """``moved`` is told the id of every run after every commit, ``handed_over`` when a run is due at once."""
        self._journal = journal
        self._programs = programs
        self._leases = leases
        self._caller = caller
        self._moved = moved
        self._handed_over = handed_over

    async def advance(self, drive: DriveInput) -> Done | Superseded | Sleep:
        """Take the run over and bring it as far as it goes. This is the activity that Dapr calls."""
        trace = {"traceparent": drive.traceparent} if drive.traceparent else {}
        with continued(trace), span("advance", run=drive.run, driver=drive.driver):
            taken = await self._journal.acquire(drive, lease=self._leases.seconds)
            if taken is None:
                return Done() if await self._journal.has_ended(drive.run) else Superseded()
            run, steps = taken
            with bound(run=run.id, organization=run.organization):
                return await self._resume(run, steps)

    async def carry_on(
        self, run: Run, program: Program, steps: dict[str, Step], effect: Effect
    ) -> Done | Superseded | Sleep:
        """Go on with a run that was started here, whose first effect is journalled as started."""

        async def go(lease: Lease) -> Done | Sleep:
            return await self._loop(Work(run, program, steps, lease, inline=True), effect)

        with bound(run=run.id, organization=run.organization), span("advance", run=run.id, driver=0):
            return await self._under_lease(run, go)

    async def _resume(self, run: Run, steps: dict[str, Step]) -> Done | Superseded | Sleep:
        try:
            program = await self._programs.get(run.workflow, run.version)
        except InvalidDefinitionError as error:
            return await self._refuse(run, error)

        async def go(lease: Lease) -> Done | Sleep:
            work = Work(run, program, steps, lease)
            turn = take_turn(program, run.trigger, steps)
            if turn.commit.events:
                await self._commit(work, turn.commit)
            return await self._loop(work, turn.next) if isinstance(turn.next, Effect) else Done()

        return await self._under_lease(run, go)

    async def _under_lease(self, run: Run, go: Callable[[Lease], Awaitable[Done | Sleep]]) -> Done | Superseded | Sleep:
        with self._leases.hold(run) as lease:
            try:
                return await go(lease)
            except LeaseLostError:
                metrics.LEASES_LOST.inc()
                log.warning("the run was taken over; this worker stops", epoch=run.epoch)
                return Superseded()

    async def _loop(self, work: Work, effect: Effect) -> Done | Sleep:
        while True:
            result = await self._perform(work, effect)
            if isinstance(result, Sleep):
                return result
            turn = take_turn(work.program, work.run.trigger, work.steps, (result,))
            await self._commit(work, turn.commit)
            if not isinstance(turn.next, Effect):
                return Done()
            effect = turn.next

    async def _perform(self, work: Work, effect: Effect) -> Step | Sleep:
        """The step, completed or failed; or how long to sleep until its next attempt."""
        step = effect.step
        while True:
            if (pause := step.retry_in or 0.0) > LONGEST_NAP_SECONDS:
                return await self._give_away(work, Commit(), pause)
            if pause > 0:
                await asyncio.sleep(pause)
            step = await self._attempt(work, replace(effect, step=step))
            if step.status != "running":
                return step
            metrics.RETRIES.labels(work.program.by_id[step.node].node.kind).inc()
            commit = Commit([journalled(work.program, step)], [step_event(work.program, step)])
            if (pause := step.retry_in or 0.0) > LONGEST_NAP_SECONDS:
                return await self._give_away(work, commit, pause)
            await self._commit(work, commit)

    async def _attempt(self, work: Work, effect: Effect) -> Step:
        """The step after one attempt: completed, failed, or running with the next attempt ahead."""
        node = work.program.by_id[effect.step.node].node
        if not isinstance(node, EffectNode):
            raise TypeError(f"node {node.id} has no effect")
        asked, since = 0, time.monotonic()
        while True:
            work.lease.check()
            try:
                return effect.step.completed(await attempt(self._caller, work.run, node, node.kind, effect))
            except Problem as problem:
                waited = time.monotonic() - since
                verdict = after_failure(problem, node, attempt=effect.step.attempt, asked=asked, waited=waited)
                error = StepError(problem.slug, problem.detail)
            log.info("an attempt failed", node=node.id, attempt=effect.step.attempt, error=error.detail, then=verdict)
            match verdict:
                case GiveUp():
                    return effect.step.failed(error)
                case TryAgain(seconds):
                    return effect.step.again(error, seconds)
                case AskAgain(seconds):
                    asked += 1
                    await asyncio.sleep(seconds)

    async def _give_away(self, work: Work, commit: Commit, pause: float) -> Sleep:
        """Let the run be looked at again after ``pause``: by the driver that sleeps so long, or by one yet to come."""
        self._leases.let_go(work.lease)
        due_in = 0.0 if work.inline else pause + _OVERSLEEP_SECONDS
        await self._commit(work, replace(commit, due_in=due_in))
        if work.inline:
            self._handed_over()
        return Sleep(seconds=pause)

    async def _commit(self, work: Work, commit: Commit) -> None:
        work.run = await self._journal.commit(work.run, commit)
        await self._moved(work.run.id)
        if commit.end is not None:
            ended(commit.end)

    async def _refuse(self, run: Run, error: InvalidDefinitionError) -> Done | Superseded:
        """A definition that this version of the engine cannot read (any more): the run fails, and says so."""
        failed = Failed(None, StepError("invalid-definition", str(error)[:1000]))
        data: JsonObject = {"node": None, "error": {"type": failed.error.type, "detail": failed.error.detail}}
        try:
            await self._journal.commit(run, Commit(events=[JournalEvent("run.failed", data)], end=failed))
        except LeaseLostError:
            return Superseded()
        await self._moved(run.id)
        ended(failed)
        return Done()


def ended(end: Finished | Failed) -> None:
    """Count and log the end of a run."""
    if isinstance(end, Finished):
        metrics.RUNS_FINISHED.labels("completed").inc()
        log.info("run completed")
    else:
        metrics.RUNS_FINISHED.labels("failed").inc()
        log.info("run failed", node=end.node, error=end.error.detail)
