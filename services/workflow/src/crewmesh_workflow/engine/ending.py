"""How a run fails or is cancelled: nothing new begins, what runs may end, what was done is undone, a handler is run.

First the effects under way come to their end (at a cancellation only those that may leave something to undo; see
``leaving``), and people say what came of those that nobody knows it of. Then the compensations of completed steps run,
the last first, one at a time; one that fails does not keep the others from being tried. Then the workflow's failure
handler runs, unless the run was cancelled.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic import ValidationError

from crewmesh_workflow.engine.frames import Frame
from crewmesh_workflow.engine.places import HANDLER, UNDO
from crewmesh_workflow.engine.steps import OVER, Cancelled, Failed, Step, StepError
from crewmesh_workflow.expressions import ExpressionError, compile_template
from crewmesh_workflow.nodes.base import CompiledEffect
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode

if TYPE_CHECKING:
    from crewmesh_workflow.engine.execution import Execution

_NO_OUTPUT = compile_template({})


class Ending:
    def __init__(self, execution: Execution, end: Failed | Cancelled | None) -> None:
        self._execution = execution
        self._end = end
        self._at_once = False
        self._heard: Collection[str] = ()
        self._untried: Collection[str] = ()
        # Completed steps that have a compensation, in the order of their ends.
        self._done: list[tuple[int, Frame, CompiledNode, str]] = []
        self._tried: set[str] = set()
        self._handler: Frame | None = None
        self._over = False

    def stops(self, frame: Frame) -> bool:
        """Whether nothing new may begin in this frame."""
        return self._end is not None and not frame.prefix.startswith(HANDLER)

    def begin(self, end: Failed | Cancelled) -> None:
        """The run is going to end so, when what is under way has come to its end."""
        execution = self._execution
        if self._end is None:
            self._end = end
            execution.turn.fail(end, sorted(set(execution.leaving.bound_inside("")).difference(self._untried)))
        for path in [*execution.waiting, *(execution.active if self._at_once else ())]:
            if not self._keeps(path):
                execution.leaving.give_up(path)
            else:
                execution.leaving.recall(path)

    def begin_at_once(self, end: Failed | Cancelled, heard: Collection[str], untried: Collection[str]) -> None:
        """Without waiting for what need not end."""
        self._at_once, self._heard, self._untried = True, heard, untried
        self.begin(end)

    def gives_up(self, path: str) -> bool:
        """Whether a step that the journal holds as begun is not gone on with."""
        return self._at_once and not self._keeps(path)

    def _keeps(self, path: str) -> bool:
        """Whether it goes on in a run that ends: it is how that ends, or has to be known before anything is undone."""
        if _is_on_the_way(path) or path in self._heard:
            return True
        return self._execution.leaving.has_to_end(path) and path not in self._untried

    def completed(self, frame: Frame, node: CompiledNode, step: Step) -> None:
        # What the failure handler does is not undone: it is how the run ends. Nor is what failed and was handled.
        if frame.prefix.startswith(HANDLER) or step.error is not None:
            return
        if node.undo is not None and step.finished is not None:
            self._done.append((step.finished, frame, node.undo, step.path + UNDO))

    def failed(self, frame: Frame, path: str, error: StepError) -> None:
        """A step outside of loops failed. A compensation or the handler that fails changes nothing any more."""
        if frame is self._handler:
            frame.halted = True
            self._execution.leaving.wind_up(HANDLER)
            self._over = True
        elif not path.endswith(UNDO):
            self.begin(Failed(path or None, error))

    def took(self, frame: Frame) -> bool:
        """Whether the frame that is done was the handler's."""
        if frame is not self._handler:
            return False
        self._over = True
        return True

    def goes_on(self) -> bool:
        """Take the next thing that is to be done on the way to the end; false when there is nothing to do right now."""
        execution = self._execution
        if self._end is None or execution.turn.end is not None or execution.active or execution.waiting:
            return False
        return self._undo_next() or self._handle() or self._finish()

    def _undo_next(self) -> bool:
        for _, frame, undo, path in sorted(self._done, key=lambda each: each[0], reverse=True):
            if path not in self._tried:
                self._tried.add(path)
                known = self._execution.steps.get(path)
                if known is None or known.status not in OVER:
                    self._undo(frame, undo, path, known)
                return True
        return False

    def _undo(self, frame: Frame, undo: CompiledNode, path: str, known: Step | None) -> None:
        """In a frame of its own that sees what the step saw, and its output."""
        if not isinstance(undo.does, CompiledEffect):
            raise TypeError(f"the compensation {path} is not an effect")
        alone = CompiledGraph((undo,), {undo.id: undo}, _NO_OUTPUT)
        place = Frame(path.removesuffix(undo.id + UNDO), alone, frame.roots, parent=frame)
        place.outputs[undo.id] = self._execution.steps[path.removesuffix(UNDO)].output
        execution = self._execution
        step = known or Step(path, "running", attempt=1)
        try:
            if known is None:
                execution.begin_effect(place, undo, replace(step, input=undo.does.render(place.scope())), undo.does)
            else:
                execution.resume(place, undo, known)
        except ExpressionError as error:
            execution.record(step.failed(StepError("expression-failed", str(error))))
        except ValidationError:
            execution.record(step.failed(StepError("invalid-step-input", "The compensation's input is wrong.")))

    def _handle(self) -> bool:
        handler = self._execution.program.on_failure
        if handler is None or self._handler is not None or not isinstance(self._end, Failed):
            return False
        execution = self._execution
        failed = [step for step in execution.steps.values() if step.path.endswith(UNDO) and step.status != "completed"]
        not_undone: JsonValue = [step.path.removesuffix(UNDO) for step in failed]
        error: JsonObject = {"node": self._end.path, **self._end.error.as_json(), "not_undone": not_undone}
        self._handler = Frame(HANDLER, handler, {**execution.main.roots, "error": error}, parent=execution.main)
        execution.open(self._handler)
        return True

    def _finish(self) -> bool:
        if self._handler is None or self._over:
            self._execution.leaving.nothing_begun()
            self._execution.turn.end = self._end
        return False


def _is_on_the_way(path: str) -> bool:
    """Whether the step is a compensation or the handler's: how the run ends, and not what it was about."""
    return "!" in path
