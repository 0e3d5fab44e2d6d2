"""A run as a pure state machine: from its program and its journal to what is to be done next.

Whoever drives it tells what happened (effects that ended, things that arrived, times that are over) and gets a Turn:
the steps that changed, the effects to start, the end. There is no I/O in here, the clock is read for waits only, and a
step that the journal holds is never decided again; so after any crash the same journal leads to the same place, by the
same code that led there at first.

Nodes are taken when all ways into them are decided (a join may be earlier). Each decision decides the ways out, and so
on; a graph whose last node is decided is done. Loops live in ``loops``, failing and cancelling in ``ending``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import assert_never

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.set_ import SetNode
from pydantic import ValidationError

from crewmesh_workflow.engine import policy, pretend
from crewmesh_workflow.engine.ending import Ending
from crewmesh_workflow.engine.frames import Frame
from crewmesh_workflow.engine.joins import Joins
from crewmesh_workflow.engine.leaving import Leaving
from crewmesh_workflow.engine.loops import Loops
from crewmesh_workflow.engine.places import UNDO
from crewmesh_workflow.engine.remembering import remember_joins, remember_rounds
from crewmesh_workflow.engine.returns import Returns
from crewmesh_workflow.engine.steps import OVER, Cancelled, Failed, Finished, Step, StepError
from crewmesh_workflow.engine.turn import Facts, Ready, Turn
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.nodes.base import (
    CompiledEffect,
    Decided,
    Decision,
    Each,
    InvalidStepInput,
    Meeting,
    Place,
    Refused,
    Repeat,
    WaitFor,
    Waiting,
)
from crewmesh_workflow.program.model import CompiledNode, Program

# So many nodes are decided in one turn: deciding holds up everything else in this process, and a commit has its limits.
_MOST_IN_A_TURN = 300
MOST_STEPS = 100_000


class Execution:
    def __init__(
        self,
        program: Program,
        facts: Facts,
        known: Mapping[str, Step] | None = None,
        failing: Failed | Cancelled | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``known``: the journal's steps. ``failing``: the run was on its way to this end already."""
        self._now = now
        self.program = program
        self.facts = facts
        self.steps: dict[str, Step] = dict(known or {})
        # Effects under way and waits, by path, with their places: what can still happen.
        self.active: dict[str, tuple[Frame, CompiledNode]] = {}
        self.waiting: dict[str, tuple[Frame, CompiledNode]] = {}
        self.turn = Turn()
        self.vars: dict[str, JsonValue] = {}
        self._var_order: dict[str, int] = {}
        self._queue: deque[tuple[Frame, CompiledNode]] = deque()
        self._finished = max((step.finished or 0 for step in self.steps.values()), default=0)
        self._responded = False
        self.leaving = Leaving(self)
        self.loops = Loops(self)
        self._joins = Joins(self)
        self._returns = Returns(self)
        self._ending = Ending(self, failing)
        env: JsonObject = dict(program.definition.env)
        roots: JsonObject = {"trigger": facts.trigger, "vars": self.vars, "env": env, "run": facts.about}
        self.main = Frame("", program.main, roots)

    # What the driver calls

    def begin(self) -> Turn:
        """From the journal to where it stands. Once is enough, and twice does no harm."""
        self.open(self.main)
        return self._settle()

    def happened(
        self,
        results: Iterable[Step] = (),
        arrived: Mapping[str, JsonObject] | None = None,
        overdue: Iterable[str] = (),
    ) -> Turn:
        """``results``: effects that ended, were put off, or whose outcome is unknown."""
        for step in results:
            self._returns.result(step)
        for path, data in (arrived or {}).items():
            self._returns.arrived(path, data)
        for path in overdue:
            self._returns.overdue(path)
        return self._settle()

    def refuse_wait(self, path: str, error: StepError) -> Turn:
        """What a waiting step waits for could not be begun."""
        self._returns.refused(path, error)
        return self._settle()

    def cancel(self, heard: Collection[str] = (), untried: Collection[str] = ()) -> Turn:
        """Also instead of ``begin``: then nothing begins again of what the journal holds as begun, and need not end.

        ``heard``: waits for which something has arrived that is yet to be told; it counts. ``untried``: effects that
        are journalled as begun, and known not to be.
        """
        self._ending.begin_at_once(Cancelled(), heard, untried)
        return self.begin()

    def time_out(self, seconds: float, heard: Collection[str] = (), untried: Collection[str] = ()) -> Turn:
        error = StepError("run-timed-out", f"The run took longer than the {seconds:g} seconds its workflow allows.")
        self._ending.begin_at_once(Failed(None, error), heard, untried)
        return self.begin()

    # Moving on

    def open(self, frame: Frame) -> None:
        remember_joins(self, frame)
        for node in frame.graph.nodes:
            if not node.incoming:
                self._reach(frame, node)

    def _reach(self, frame: Frame, node: CompiledNode) -> None:
        if node.id not in frame.reached:
            frame.reached.add(node.id)
            self._queue.append((frame, node))

    @property
    def unfinished(self) -> bool:
        """Whether more can be decided right away; the turn ended because it was long enough."""
        return bool(self._queue)

    def go_on(self) -> Turn:
        return self._settle()

    def _settle(self) -> Turn:
        left = self._drain(_MOST_IN_A_TURN)
        while left and (self.loops.go_down() or self._ending.goes_on()):
            left = self._drain(left)
        turn, self.turn = self.turn, Turn()
        return turn

    def _drain(self, left: int) -> int:
        """Decide what can be decided, up to so many nodes; says how many more there might have been."""
        while self._queue and left:
            frame, node = self._queue.popleft()
            if not frame.closed and node.id not in frame.decided:
                left -= frame.path(node) not in self.steps  # what the journal holds costs nothing
                self._take(frame, node)
        return left

    def _take(self, frame: Frame, node: CompiledNode) -> None:
        path = frame.path(node)
        known = self.steps.get(path)
        if known is not None and known.status in OVER:
            remember_rounds(self, frame, node, known)
            self.decide(frame, node, known)
        elif known is not None and known.attempt > 0:
            self.resume(frame, node, known)
        elif frame.halts or self._ending.stops(frame):
            return
        elif node.id in frame.left_behind or (node.incoming and not frame.taken[node.id]):
            self.decide(frame, node, Step(path, "skipped"))
        else:
            self._begin(frame, node, path, None if known is None else known.input)

    def _begin(self, frame: Frame, node: CompiledNode, path: str, given: JsonObject | None) -> None:
        """``given``: whoever started the run said with which input the effect is to be done."""
        if len(self.steps) >= MOST_STEPS:
            error = StepError("too-many-steps", f"The run has {MOST_STEPS} steps, which is the limit; let it do less.")
            self._ending.begin(Failed(path, error))
            return
        step = Step(path, "running", attempt=1, input=given)
        try:
            match node.does:
                case Decision():
                    self.conclude(frame, node, step, node.does.decide(self._place(frame, path)))
                case Meeting():
                    self._joins.meet(frame, node, step, node.does)
                case CompiledEffect():
                    input_ = node.does.render(frame.scope()) if given is None else given
                    self.begin_effect(frame, node, Step(path, "running", attempt=1, input=input_), node.does)
                case Waiting():
                    self._begin_wait(frame, node, step, node.does)
                case Each() | Repeat():
                    self.loops.begin(frame, node, step)
                case _:
                    assert_never(node.does)
        except ExpressionError as error:
            self.decide(frame, node, step.failed(StepError("expression-failed", str(error))))
        except ValidationError as error:
            self.decide(frame, node, step.failed(StepError.of(InvalidStepInput(error))))

    def _place(self, frame: Frame, path: str) -> Place:
        return Place(self.facts.id, path, frame.scope())

    def begin_effect(self, frame: Frame, node: CompiledNode, step: Step, does: CompiledEffect) -> None:
        """Start it, unless this is a test, or a person has to agree first."""
        if self.facts.test:
            self.record(step)
            self.conclude(frame, node, step, pretend.effect(node, step.path, self.facts.samples))
            return
        wait = policy.approval_for(self.program, node, does, step.input or {}, frame)
        if wait is not None:
            self.wait(frame, node, replace(step, status="waiting", wait=wait))
            return
        self.launch(frame, node, step, does)

    def launch(self, frame: Frame, node: CompiledNode, step: Step, does: CompiledEffect) -> None:
        self.active[step.path] = (frame, node)
        self.record(step)
        self.leaving.note(step, node)
        self.turn.ready.append(Ready(self.steps[step.path], node, does))

    def _begin_wait(self, frame: Frame, node: CompiledNode, step: Step, does: Waiting) -> None:
        wait = does.render(self._place(frame, step.path))
        if self.facts.test:
            self.record(step)
            self.conclude(
                frame, node, step, pretend.wait(node, does, step.path, wait, self.facts.samples, self.until(wait))
            )
            return
        wait = self._timed(wait)
        if wait.kind == "timer" and (wait.seconds or 0) <= 0:
            self.conclude(frame, node, step, does.over(self.until(wait)))
            return
        self.wait(frame, node, replace(step, status="waiting", input=wait.request, wait=wait))
        if does.begin is not None:
            self.turn.ready.append(Ready(self.steps[step.path], node, does))

    def _timed(self, wait: WaitFor) -> WaitFor:
        """A wait until a moment is one for some seconds; that is how the journal keeps it."""
        until = wait.request.get("until")
        if wait.seconds is not None or not isinstance(until, str):
            return wait
        return replace(wait, seconds=(datetime.fromisoformat(until) - self._now()).total_seconds())

    def until(self, wait: WaitFor | None) -> str:
        until = None if wait is None else wait.request.get("until")
        return until if isinstance(until, str) else self._now().isoformat()

    def wait(self, frame: Frame, node: CompiledNode, step: Step) -> None:
        self.waiting[step.path] = (frame, node)
        self.record(step)

    def resume(self, frame: Frame, node: CompiledNode, step: Step) -> None:
        """Go on with a step that the journal holds as begun."""
        if step.status == "waiting":
            self.waiting[step.path] = (frame, node)
            if isinstance(node.does, Waiting) and node.does.begin is not None:
                self.turn.ready.append(Ready(step, node, node.does))
        elif isinstance(node.does, CompiledEffect):
            self.active[step.path] = (frame, node)
            self.turn.ready.append(Ready(step, node, node.does))
        else:
            self.loops.begin(frame, node, step)
        if self._ending.gives_up(step.path):
            self.leaving.give_up(step.path)

    def is_unwanted(self, path: str) -> bool:
        """Whether what is under way there only goes on because it has to end."""
        place = self.active.get(path) or self.waiting.get(path)
        return place is not None and self.winds_up(place[0], path)

    def winds_up(self, frame: Frame, path: str) -> bool:
        """Whether what fails there is not worth another attempt, for nothing will come of it."""
        return not path.endswith(UNDO) and (frame.halts or frame.leaves(path) or self._ending.stops(frame))

    # Deciding

    def conclude(self, frame: Frame, node: CompiledNode, step: Step, said: Decided | Refused) -> None:
        if isinstance(said, Refused):
            self.decide(frame, node, step.failed(StepError(said.type, said.detail)))
            return
        if said.emits is not None and not self.facts.test:
            self.turn.emitted.append(said.emits)
        if said.response is not None and not self._responded:
            self._responded = True
            self.turn.response = said.response
        self.decide(frame, node, step.completed(said.output, said.ports))

    def decide(self, frame: Frame, node: CompiledNode, step: Step) -> None:
        """The step is over; so are the ways out of it."""
        if node.id in frame.decided or frame.closed:
            return
        if step.finished is None:
            self._finished += 1
            step = replace(step, finished=self._finished)
        frame.decided.add(node.id)
        frame.reached.add(node.id)
        self.record(step)
        if step.status == "completed":
            self.completed(frame, node, step)
        if step.status == "failed" and step.error is not None and node.id not in frame.left_behind:
            self.fail(frame, step.path, step.error)
            return
        for edge in node.outgoing:
            frame.undecided[edge.to] -= 1
            if edge.port in step.ports:
                frame.taken[edge.to].append(node.id)
            self._look_at(frame, frame.graph.by_id[edge.to])
        if frame.done:
            self._done(frame)

    def completed(self, frame: Frame, node: CompiledNode, step: Step) -> None:
        if node.id not in frame.left_behind:
            frame.outputs[node.id] = step.output
        self._ending.completed(frame, node, step)
        if isinstance(node.node, SetNode) and step.output is not None and step.finished is not None:
            for name, value in step.output.items():
                if step.finished >= self._var_order.get(name, 0):
                    self._var_order[name] = step.finished
                    self.vars[name] = value

    def _look_at(self, frame: Frame, node: CompiledNode) -> None:
        needed = node.does.needed if isinstance(node.does, Meeting) else None
        if frame.undecided[node.id] == 0 or (needed is not None and len(frame.taken[node.id]) >= needed):
            self._reach(frame, node)

    def end_without_result(self, path: str) -> None:
        self._finished += 1
        self.record(replace(self.steps[path].cancelled(), finished=self._finished))

    def fail(self, frame: Frame, path: str, error: StepError) -> None:
        """A step failed and nothing handles it: so does its loop, or the run."""
        path = self.loops.culprits.get(path, path)
        if frame.holder is not None:
            self.loops.round_failed(frame, path, error)
        else:
            self._ending.failed(frame, path, error)

    def _done(self, frame: Frame) -> None:
        if frame.holder is None and self._ending.took(frame):
            return
        try:
            output = frame.graph.render_output(frame.scope())
        except ExpressionError as error:
            self.fail(frame, frame.holder or "", StepError("expression-failed", f"output: {error}"))
            return
        if frame.holder is not None:
            self.loops.round_done(frame, output)
        elif not self._ending.stops(frame):
            self.turn.end = Finished(output)

    def record(self, step: Step) -> None:
        """Remember the step, and journal it when the journal does not hold it as it now is."""
        known = self.steps.get(step.path)
        if known is step:
            return
        if not step.number:
            step = replace(step, number=len(self.steps) + 1 if known is None else known.number)
        if known is not None and known.status == "waiting" and step.status != "waiting":
            self.turn.closed.append(step.path)
        self.leaving.note(step)
        self.steps[step.path] = step
        self.turn.change(step)
