"""A run in hand: its effects are done, what becomes of them is journalled, what follows is begun.

Every turn is committed before its effects begin, and what they bring is committed with what follows from it. Effects of
one run go side by side; the commits of a run go one after another. When nothing is under way any more the run has
ended, or it rests: until a moment, until something arrives, or until it is resumed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, replace

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.base import EffectNode
from crewmesh_kit.db.database import persistently
from crewmesh_kit.logs import get_logger

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.commits import Ack, Commit, JournalEvent, LeaseLostError, Rest, Run, Wish
from crewmesh_workflow.engine.effects import Reach, StepContext, begin_wait, perform, stop_quietly, try_no_more
from crewmesh_workflow.engine.ends import Ends
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.journal import Journal
from crewmesh_workflow.engine.leases import Lease, Leases
from crewmesh_workflow.engine.moments import Moments
from crewmesh_workflow.engine.outcome import Done, Sleep
from crewmesh_workflow.engine.places import node_at
from crewmesh_workflow.engine.resting import LONGEST_NAP_SECONDS, given_away, only_waits, sleep_of, worth_a_driver
from crewmesh_workflow.engine.steps import Step, StepError
from crewmesh_workflow.engine.turn import Ready, Turn
from crewmesh_workflow.engine.turns import commit_of, name_waits
from crewmesh_workflow.nodes.base import CompiledEffect, Waiting

# So many effects of one run are under way at a time.
_MOST_EFFECTS = 64
_STOP_SECONDS = 5.0

Spawn = Callable[[str, Coroutine[object, object, object]], asyncio.Task[object]]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What all workers share."""

    journal: Journal
    leases: Leases
    reach: Reach
    ends: Ends
    spawn: Spawn
    cancel_children: Callable[[str, str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Refused:
    """What a waiting step waits for could not be begun."""

    path: str
    error: StepError


class Worker:
    def __init__(
        self,
        desk: Desk,
        run: Run,
        execution: Execution,
        lease: Lease,
        *,
        inline: bool,
        brought: tuple[int, dict[str, JsonObject]] | None = None,
    ) -> None:
        """``inline``: no driver watches over the run, so that one must be asked for when it has to rest.

        ``brought``: how much had arrived when the run was taken, and what of it is for steps that wait.
        """
        self.run = run
        self._desk = desk
        self._execution = execution
        self._lease = lease
        self._inline = inline
        self._brought = brought
        # The driver that watches over the run when it rests.
        self.driver = 0
        self._asked: Wish | None = None
        self._cancels = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._queue: deque[Ready] = deque()
        # Effects that are journalled as begun, and are not.
        self._untried: set[str] = set()
        self._moments = Moments(run.left)
        self._results: asyncio.Queue[Step | _Refused | None] = asyncio.Queue()
        lease.changed = lambda: self._results.put_nowait(None)

    async def resume(self) -> Done | Sleep:
        """From where the journal stands. What it is asked for by now comes before what it would begin again."""
        if self.run.was_paused:
            self._untried = {step.path for step in self._execution.steps.values() if step.untried}
        turn = await self._asked_for() or self._execution.begin()
        if turn.begins_waits:
            begun = await self._desk.journal.children(self.run.id)
            turn.leave_out({path for path in begun if not self._execution.is_unwanted(path)})
        return await self.go(turn)

    async def go(self, turn: Turn) -> Done | Sleep:
        """From this turn on, which is not journalled yet, as far as it goes."""
        for path in self._execution.waiting:
            self._moments.note(self._execution.steps[path])
        try:
            while True:
                asleep = await self._write(turn)
                for path in turn.stopped:  # also when the run ends with it
                    self._stop(path)
                if turn.end is not None:
                    return Done()
                if asleep is not None:
                    return asleep
                self._act(turn)
                following = await self._next()
                if not isinstance(following, Turn):
                    return following
                turn = following
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def resume_after(self, turn: Turn) -> Done | Sleep:
        """The same for a turn that was journalled with the start of the run."""
        for step in turn.changed.values():
            self._moments.note(step)
        if (asked := await self._asked_for()) is not None:
            return await self.go(asked)
        self._act(turn)
        try:
            following = await self._next()
        except BaseException:
            for task in self._tasks.values():
                task.cancel()
            raise
        return await self.go(following) if isinstance(following, Turn) else following

    # Writing

    async def _write(self, turn: Turn) -> Sleep | None:
        """Journal the turn. Where nothing follows from it but to wait, the run is given away with the same commit."""
        name_waits(turn, self._execution.steps)
        commit = commit_of(self._execution.program, turn)
        for step in turn.changed.values():
            self._moments.note(step)
        asleep, seconds = None, self._moments.seconds_left()
        if self._nothing_came and self._idle and only_waits(self._execution, turn) and worth_a_driver(seconds):
            asleep = await self._give_away(commit, seconds)
        elif not commit.empty:
            await self._commit(commit)
        for path in commit.closed:
            step = turn.changed[path]
            if step.status == "cancelled" and isinstance(step.input, dict) and "workflow" in step.input:
                self._desk.spawn(f"stop children of {self.run.id}/{path}", self._cancel_children(path))
        return asleep

    async def _cancel_children(self, path: str) -> bool:
        return await persistently(lambda: self._desk.cancel_children(self.run.id, path))

    async def _commit(self, commit: Commit) -> Ack:
        keep_days = self._execution.program.definition.settings.retention_days
        if self._obeys_cancel:
            commit = replace(commit, obeyed="cancel")
        ack = await self._desk.journal.commit(self.run, commit, keep_days=keep_days)
        self.run = ack.run
        self._asked = ack.asked
        self._lease.tell(ack.asked, ack.arrivals)
        await self._desk.ends.moved(self.run, commit)
        return ack

    # Acting

    def _act(self, turn: Turn) -> None:
        self._queue.extend(self._moments.take(self._execution.is_unwanted))  # nobody waits for long pauses of those
        for ready in filter(self._is_wanted, turn.ready):
            path, pause = ready.step.path, ready.step.retry_in or 0.0
            if turn.changed.get(path) is ready.step and ready.step.untried:
                self._untried.add(path)
            if pause > LONGEST_NAP_SECONDS and not self._execution.is_unwanted(path):
                self._moments.put_off(ready, pause)
            else:
                self._queue.append(ready)
        self._begin_queued()

    def _begin_queued(self) -> None:
        while self._queue and len(self._tasks) < _MOST_EFFECTS and not self._paused:
            ready = self._queue.popleft()
            if self._is_wanted(ready):
                path = ready.step.path
                self._untried.discard(path)
                before = self._tasks.pop(path, None)
                self._tasks[path] = asyncio.create_task(self._do(ready, before), name=f"step {path}")

    def _is_wanted(self, ready: Ready) -> bool:
        """It may have been given up since it was ready, even in the same turn."""
        path = ready.step.path
        return path in self._execution.active or path in self._execution.waiting

    async def _do(self, ready: Ready, before: asyncio.Task[None] | None) -> None:
        """``before``: what was done about the step until now, which is not wanted any more."""
        path = ready.step.path
        try:
            if before is not None:
                before.cancel()
                await asyncio.wait([before])
            result = await (self._effect(ready) if isinstance(ready.does, CompiledEffect) else self._begin_wait(ready))
        except LeaseLostError:
            result = None
        except Exception as error:
            # A fault of ours. Whoever waits for this step must hear of it, or the run would never go on.
            log.exception("a step raised", path=path)
            told = StepError(
                "internal-error", f"The step failed in a way that nobody foresaw ({type(error).__name__})."
            )
            result = ready.step.failed(told) if isinstance(ready.does, CompiledEffect) else _Refused(path, told)
        finally:
            if self._tasks.get(path) is asyncio.current_task():
                del self._tasks[path]
        self._results.put_nowait(result)

    async def _effect(self, ready: Ready) -> Step:
        does, node, step = ready.does, ready.node.node, ready.step
        if not isinstance(does, CompiledEffect) or not isinstance(node, EffectNode):
            raise TypeError(f"step {step.path} has no effect")

        def unwanted() -> bool:
            return self._execution.is_unwanted(step.path)

        if step.retry_in:
            metrics.RETRIES.labels(str(getattr(node, "kind", ""))).inc()
            await asyncio.sleep(0 if unwanted() else step.retry_in)
            if step.retry_in > 0 and unwanted():
                return await try_no_more(self._desk.reach, self.run, node, does, replace(step, retry_in=None))
            step = replace(step, retry_in=None)
        return await perform(self._desk.reach, self.run, node, does, step, self._lease, unwanted)

    async def _begin_wait(self, ready: Ready) -> _Refused | None:
        does, step = ready.does, ready.step
        if not isinstance(does, Waiting) or does.begin is None:
            raise TypeError(f"step {step.path} has nothing to begin")
        if self._execution.is_unwanted(step.path):
            never_begun = StepError("cancelled", "The run was not begun when it was not wanted any more.")
            return None if await self._cancel_children(step.path) else _Refused(step.path, never_begun)
        error = await begin_wait(self._desk.reach, self.run, does.begin, step)
        return None if error is None else _Refused(step.path, error)

    def _stop(self, path: str) -> None:
        """End an effect that is under way or was put off; where it is done elsewhere, say so there."""
        self._moments.forget(path)
        task = self._tasks.pop(path, None)
        if task is not None:
            task.cancel()
        node = node_at(self._execution.program, path)
        if node is not None and isinstance(node.does, CompiledEffect) and node.does.stop is not None:
            context = StepContext(self._desk.reach, self.run, self._execution.steps[path], _STOP_SECONDS)
            self._desk.spawn(f"stop {context.key}", stop_quietly(node.does, context))

    # Going on

    async def _next(self) -> Turn | Done | Sleep:
        while True:
            self._lease.check()
            turn = (
                await self._asked_for() or self._unfinished() or await self._arrived() or await self._rest_or_results()
            )
            if turn is not None:
                return turn

    async def _asked_for(self) -> Turn | None:
        self._asked = self._lease.asked
        if self._asked == "cancel" and not self._cancels:
            self._cancels = True
            return self._execution.cancel(await self._heard(), self._untried)
        if self._moments.is_past_deadline():
            seconds = self._execution.program.definition.settings.timeout_seconds or 0
            return self._execution.time_out(seconds, await self._heard(), self._untried)
        return None

    async def _heard(self) -> Collection[str]:
        """The waits for which something has arrived that is yet to be told."""
        if self._lease.arrivals != self.run.arrivals and self._brought is None:
            self._brought = (self._lease.arrivals, await self._desk.journal.arrived(self.run.id))
        return self._brought[1] if self._brought is not None else ()

    def _unfinished(self) -> Turn | None:
        return self._execution.go_on() if self._execution.unfinished else None

    @property
    def _nothing_came(self) -> bool:
        return self._lease.arrivals == self.run.arrivals and (self._lease.asked is None or self._obeys_cancel)

    @property
    def _obeys_cancel(self) -> bool:
        """What is left to do is the undoing, which may wait like anything else."""
        return self._cancels and self._lease.asked == "cancel"

    async def _arrived(self) -> Turn | None:
        if self._lease.arrivals == self.run.arrivals:
            return None
        await self._heard()
        brought, self._brought = self._brought, None
        seen, arrived = brought or (0, {})
        self.run = replace(self.run, arrivals=seen)
        return self._execution.happened(arrived=arrived)

    async def _rest_or_results(self) -> Turn | Done | Sleep | None:
        """Nothing when all has to be looked at again."""
        self._begin_queued()  # what a pause that was taken back kept from beginning
        seconds = self._moments.seconds_left()
        if self._idle and self._paused:
            return await self._pause()
        if self._idle and worth_a_driver(seconds):
            if seconds is None and not self._execution.waiting:
                raise RuntimeError(f"run {self.run.id} neither ends nor waits for anything")
            return await self._give_away(Commit(), seconds)
        results = await self._wait_for_results(seconds)
        for refused in [each for each in results if isinstance(each, _Refused)]:
            return self._execution.refuse_wait(refused.path, refused.error)
        steps = [each for each in results if isinstance(each, Step)]
        self._queue.extend(self._moments.take_due())
        overdue, arrived = await self._expired(self._moments.overdue(self._execution.waiting))
        return self._execution.happened(steps, arrived, overdue) if steps or arrived or overdue else None

    @property
    def _paused(self) -> bool:
        return self._asked == "pause"

    @property
    def _idle(self) -> bool:
        return not self._tasks and self._results.empty() and (self._paused or not self._queue)

    async def _wait_for_results(self, seconds: float | None) -> list[Step | _Refused | None]:
        results: list[Step | _Refused | None] = []
        try:
            async with asyncio.timeout(seconds):
                results.append(await self._results.get())
        except TimeoutError:
            return results
        while not self._results.empty() and not isinstance(results[-1], _Refused):
            following = self._results.get_nowait()
            if isinstance(following, _Refused):  # a turn of its own
                self._results.put_nowait(following)
                break
            results.append(following)
        return results

    async def _expired(self, overdue: list[str]) -> tuple[list[str], dict[str, JsonObject]]:
        """Those for which nothing came in time, and what came. For a timer nothing comes."""
        waits = [(path, self._execution.steps[path]) for path in overdue]
        asked = {
            path: step.wait_id or "" for path, step in waits if step.wait is not None and step.wait.kind != "timer"
        }
        if not asked:
            return overdue, {}
        in_time = asked.keys() - await self._desk.journal.expire(self.run, [*asked.values()])
        arrived = await self._desk.journal.arrived(self.run.id) if in_time else {}
        return [path for path in overdue if path not in in_time], arrived

    async def _pause(self) -> Done | None:
        paused = Commit(events=[JournalEvent("run.paused", {})], rest=Rest(paused=True), obeyed="pause")
        rests = await self._let_go(paused)
        return Done() if rests else None

    async def _give_away(self, commit: Commit, seconds: float | None) -> Sleep | None:
        """With what else is to be journalled; nothing when something came in between."""
        rests = await self._let_go(given_away(commit, seconds, to_new_driver=self._inline))
        return sleep_of(self.run.epoch, seconds) if rests else None

    async def _let_go(self, commit: Commit) -> bool:
        self._desk.leases.let_go(self._lease)
        ack = await self._commit(commit)
        if ack.rests:
            self.driver = ack.driver
        else:
            self._desk.leases.keep(self._lease)
        return ack.rests
