"""What a run, a loop or a join leaves behind that does not want it any more: what is given up, and what has to end.

Most of what is under way is given up at once. Not so where it has to be known what there is to undo, before anything is
undone: an effect that has a compensation, or that cannot just be done again, comes to its end; people say what came of
a step of which nobody knows it; and a run that a step started is cancelled, and its end is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crewmesh_workflow.engine.places import UNDO, node_at
from crewmesh_workflow.engine.steps import OVER, Step
from crewmesh_workflow.engine.turn import Ready
from crewmesh_workflow.nodes.base import CompiledEffect, Waiting
from crewmesh_workflow.program.model import CompiledNode

if TYPE_CHECKING:
    from crewmesh_workflow.engine.execution import Execution


class Leaving:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        # Those that have to end; also before they are reached in a run that is resumed.
        self._bound: set[str] = set()
        for step in execution.steps.values():
            if step.status not in OVER:
                self.note(step, node_at(execution.program, step.path))
        # Steps whose runs are being cancelled.
        self._recalled: set[str] = set()

    def note(self, step: Step, node: CompiledNode | None = None) -> None:
        """The step now is so; with its node when its effect begins."""
        begins = step.status == "running" and step.attempt > 0 and node is not None and _leaves_traces(node)
        # Compensations come after all of that; they are how a run ends.
        if not step.path.endswith(UNDO) and (step.in_doubt or step.awaits_run or begins):
            self._bound.add(step.path)
        elif step.status != "running":
            self._bound.discard(step.path)

    def has_to_end(self, path: str) -> bool:
        never_begun = path in self._execution.turn.changed and self._execution.steps[path].untried
        return path in self._bound and not never_begun

    def bound_inside(self, prefix: str) -> list[str]:
        return [path for path in self._bound if path.startswith(prefix)]

    def wind_up(self, prefix: str) -> None:
        """Give up everything whose path begins so, but for what has to end."""
        execution = self._execution
        for path in [path for path in (*execution.active, *execution.waiting) if path.startswith(prefix)]:
            self.wind_up_one(path)

    def wind_up_one(self, path: str) -> None:
        if self.has_to_end(path):
            self.recall(path)
        else:
            self.give_up(path)

    def recall(self, path: str) -> None:
        """Where the step waits for a run, that is to be cancelled; its end is waited for."""
        execution = self._execution
        place = execution.waiting.get(path)
        if place is None or path in self._recalled or not isinstance(place[1].does, Waiting):
            return
        if execution.steps[path].awaits_run:
            self._recalled.add(path)
            execution.turn.ready.append(Ready(execution.steps[path], place[1], place[1].does))

    def give_up(self, path: str) -> None:
        """End an effect that is under way, or a wait; what it still brings does not count."""
        execution = self._execution
        place = execution.active.pop(path, None)
        if place is not None or (path in execution.waiting and execution.steps[path].asked_on_its_way):
            execution.turn.stopped.append(path)
        place = place or execution.waiting.pop(path, None)
        if place is not None:
            frame, node = place
            execution.end_without_result(path)
            if frame.leaves(path):  # the graph goes on without it, and is done when that is over
                execution.decide(frame, node, execution.steps[path])

    def give_up_inside(self, prefix: str) -> None:
        """End everything whose path begins so."""
        execution = self._execution
        for path in [path for path in (*execution.active, *execution.waiting) if path.startswith(prefix)]:
            self.give_up(path)

    def nothing_begun(self) -> None:
        """The run ends: loops that never came to their end are cancelled."""
        for step in [step for step in self._execution.steps.values() if step.status not in OVER]:
            self._execution.end_without_result(step.path)


def _leaves_traces(node: CompiledNode) -> bool:
    """Whether it matters to whoever does not want the effect any more what came of it."""
    return isinstance(node.does, CompiledEffect) and (node.undo is not None or node.does.safety != "idempotent")
