"""Loops of an execution: a frame for every round, opened as far as the loop may go at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic_core import to_json

from crewmesh_workflow.engine.frames import Frame
from crewmesh_workflow.engine.payloads import LARGEST_BYTES
from crewmesh_workflow.engine.steps import Step, StepError
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.nodes.base import Each, Repeat
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode

if TYPE_CHECKING:
    from crewmesh_workflow.engine.execution import Execution


@dataclass(frozen=True, slots=True)
class _Failure:
    """Which step failed, and why."""

    path: str
    error: StepError


@dataclass(slots=True)
class _Loop:
    """A loop that has begun. ``open`` holds the rounds that are being worked on.

    ``failed``: why rounds failed in which something has to come to its end first.
    """

    frame: Frame
    node: CompiledNode
    path: str
    items: list[JsonValue] = field(default_factory=list[JsonValue])
    outputs: list[JsonValue] = field(default_factory=list[JsonValue])
    errors: list[JsonObject] = field(default_factory=list[JsonObject])
    next: int = 0
    open: dict[int, Frame] = field(default_factory=dict[int, Frame])
    failed: dict[int, _Failure] = field(default_factory=dict[int, "_Failure"])
    known_rounds: int = 0
    last: JsonValue = None
    failure: _Failure | None = None

    @property
    def is_left_behind(self) -> bool:
        """A join was reached without it; its rounds are open for what has to end in them."""
        return self.frame.leaves(self.path)


class Loops:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._loops: dict[str, _Loop] = {}
        # The steps that made loops fail, by the paths of these.
        self.culprits: dict[str, str] = {}

    def begin(self, frame: Frame, node: CompiledNode, step: Step) -> None:
        """Begin a loop, or go on with one that the journal holds as begun."""
        loop = _Loop(frame, node, step.path, known_rounds=step.rounds)
        does = node.does
        if isinstance(does, Each):
            if step.input is None:
                step = replace(step, input={"items": does.items(frame.scope())})
            loop.items = cast("list[JsonValue]", (step.input or {})["items"])
            loop.outputs = [None] * len(loop.items)
        self._loops[step.path] = loop
        self._execution.record(step)
        self._go_on(loop)

    def close(self, holder: str) -> None:
        """Nothing that its rounds still bring counts."""
        loop = self._loops.pop(holder, None)
        if loop is not None:
            self._close_rounds(loop)

    def round_done(self, round_: Frame, output: JsonObject) -> None:
        loop = self._loops.get(round_.holder or "")
        if loop is None or round_.index in loop.failed or loop.open.pop(round_.index, None) is None:
            return
        loop.last = output
        if isinstance(loop.node.does, Each):
            loop.outputs[round_.index] = output
        self._go_on(loop)

    def round_failed(self, round_: Frame, path: str, error: StepError) -> None:
        loop = self._loops.get(round_.holder or "")
        if loop is None or round_.index not in loop.open:
            return
        if self._execution.leaving.bound_inside(round_.prefix):
            loop.failed.setdefault(round_.index, _Failure(path, error))
            round_.halted = True
            self._execution.leaving.wind_up(round_.prefix)
        else:
            self._end_round(loop, round_, loop.failed.pop(round_.index, _Failure(path, error)))

    def _end_round(self, loop: _Loop, round_: Frame, failure: _Failure) -> None:
        """It failed."""
        del loop.open[round_.index]
        self._close(loop, round_)
        if isinstance(loop.node.does, Each) and loop.node.does.keep_going:
            loop.errors.append({"index": round_.index, **failure.error.as_json()})
            self._go_on(loop)
            return
        loop.failure = loop.failure or failure
        for other in loop.open.values():
            other.halted = True

    def go_down(self) -> bool:
        """End the loops that were left behind, or of which a round failed, when nothing more has to end in them."""
        execution = self._execution
        for loop in [loop for loop in self._loops.values() if loop.failed]:
            for index in [each for each in loop.failed if not execution.leaving.bound_inside(loop.open[each].prefix)]:
                self._end_round(loop, loop.open[index], loop.failed.pop(index))
                return True
        for loop in [loop for loop in self._loops.values() if loop.is_left_behind]:
            if not execution.leaving.bound_inside(loop.path + "["):
                self._close_rounds(loop)
                self._end(loop, self._step(loop).cancelled())
                return True
        for loop in [loop for loop in self._loops.values() if loop.failure is not None]:
            inside = loop.path + "["
            for path in [path for path in execution.waiting if path.startswith(inside)]:
                execution.leaving.wind_up_one(path)
            under_way = execution.leaving.bound_inside(inside) or any(
                path.startswith(inside) for path in execution.active
            )
            if loop.failure is not None and not under_way:
                self._close_rounds(loop)
                self.culprits[loop.path] = loop.failure.path
                self._end(loop, self._step(loop).failed(loop.failure.error))
                return True
        return False

    def _go_on(self, loop: _Loop) -> None:
        if loop.failure is not None:
            return
        does = loop.node.does
        if isinstance(does, Each):
            while loop.next < len(loop.items) and len(loop.open) < does.concurrency:
                index, loop.next = loop.next, loop.next + 1
                self._open(loop, does.body, index, {"item": loop.items[index], "index": index})
            if not loop.open:
                errors = sorted(loop.errors, key=lambda error: cast(int, error["index"]))
                output: JsonObject = {"items": loop.outputs, "errors": [*errors], "count": len(loop.items)}
                self._end(loop, _with_output(self._step(loop), output))
        elif isinstance(does, Repeat):
            self._next_round(loop, does)

    def _next_round(self, loop: _Loop, does: Repeat) -> None:
        """The condition is asked once for every round; that a round was begun is in the journal."""
        index = loop.next
        about: JsonObject = {"index": index, "last": loop.last}
        if index >= loop.known_rounds:
            if loop.is_left_behind:
                return
            try:
                goes_on = does.condition.evaluate(loop.frame.scope(**about))
            except ExpressionError as error:
                self._end(loop, self._step(loop).failed(StepError("expression-failed", str(error))))
                return
            if not goes_on:
                output: JsonObject = {"iterations": index, "last": loop.last}
                self._end(loop, self._step(loop).completed(output))
                return
            if index >= does.most:
                detail = f"The condition is still true after {does.most} rounds, which is max_iterations."
                self._end(loop, self._step(loop).failed(StepError("too-many-iterations", detail)))
                return
            self._execution.record(replace(self._step(loop), rounds=index + 1))
        loop.next = index + 1
        self._open(loop, does.body, index, about)

    def _open(self, loop: _Loop, body: CompiledGraph, index: int, about: JsonObject) -> None:
        prefix = f"{loop.path}[{index}]."
        roots = {**loop.frame.roots, **about}
        round_ = loop.open[index] = Frame(prefix, body, roots, parent=loop.frame, holder=loop.path, index=index)
        self._execution.open(round_)

    def _end(self, loop: _Loop, step: Step) -> None:
        self._loops.pop(loop.path, None)
        self._execution.decide(loop.frame, loop.node, step)

    def _step(self, loop: _Loop) -> Step:
        return self._execution.steps[loop.path]

    def _close_rounds(self, loop: _Loop) -> None:
        for round_ in list(loop.open.values()):
            self._close(loop, round_)
        loop.open.clear()

    def _close(self, loop: _Loop, round_: Frame) -> None:
        round_.closed = True
        self._execution.leaving.give_up_inside(round_.prefix)
        for path in reversed([path for path in self._loops if path.startswith(round_.prefix)]):
            inner = self._loops.pop(path)
            self._execution.end_without_result(path)
            for deeper in inner.open.values():
                deeper.closed = True


def _with_output(step: Step, output: JsonObject) -> Step:
    """The loop's end. No round gives more than can be kept, but all of them together may."""
    size = len(to_json(output))
    if size <= LARGEST_BYTES:
        return step.completed(output)
    detail = f"What its rounds give is {size:,} bytes together, and {LARGEST_BYTES:,} can be kept; let each give less."
    return step.failed(StepError("payload-too-large", detail))
