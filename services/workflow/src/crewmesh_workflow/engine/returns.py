"""What comes back to an execution: results of effects, arrivals, times that are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.base import ERROR, OUT, EffectNode

from crewmesh_workflow.engine import policy
from crewmesh_workflow.engine.places import UNDO
from crewmesh_workflow.engine.steps import Step, StepError
from crewmesh_workflow.nodes.base import CompiledEffect, Waiting
from crewmesh_workflow.program.model import CompiledNode

if TYPE_CHECKING:
    from crewmesh_workflow.engine.execution import Execution


class Returns:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def result(self, step: Step) -> None:
        """An effect ended, was put off, or has an outcome that nobody knows."""
        execution = self._execution
        place = execution.active.pop(step.path, None)
        if place is None:
            return  # it was stopped, and its result comes too late to count
        frame, node = place
        if step.status == "running" and step.error is not None and execution.winds_up(frame, step.path):
            step = step.failed(step.error)
        if step.status == "running" and isinstance(node.does, CompiledEffect):
            execution.launch(frame, node, step, node.does)
        elif step.status == "waiting":
            execution.wait(frame, node, policy.people_for(execution.program, node, step, frame))
            if execution.winds_up(frame, step.path):  # nobody is asked about what nobody wants
                execution.leaving.wind_up_one(step.path)
        else:
            execution.decide(frame, node, _unless_handled(node, step))

    def arrived(self, path: str, data: JsonObject) -> None:
        execution = self._execution
        place = execution.waiting.pop(path, None)
        if place is None:
            return
        frame, node = place
        step = execution.steps[path]
        if isinstance(node.does, Waiting):
            if step.awaits_run and data.get("status") == "cancelled" and execution.winds_up(frame, path):
                execution.waiting[path] = place
                execution.leaving.give_up(path)  # it was cancelled because it was not wanted here
                return
            execution.conclude(frame, node, step, node.does.arrived(data))
        elif isinstance(node.does, CompiledEffect):
            # Somebody agreed to the effect or not, or told what became of it when nobody knew.
            told = policy.told(step, data)
            if (said := policy.said_of_outcome(step, data)) is not None:
                execution.turn.said[path] = said
            if told.status == "running" and execution.winds_up(frame, path):  # nobody wants it done any more
                if not step.in_doubt or step.error is None:
                    execution.waiting[path] = place
                    execution.leaving.give_up(path)
                    return
                told = step.failed(step.error)
            if told.status == "running":
                execution.launch(frame, node, told, node.does)
            else:
                execution.decide(frame, node, _unless_handled(node, told))

    def overdue(self, path: str) -> None:
        execution = self._execution
        place = execution.waiting.pop(path, None)
        if place is None:
            return
        frame, node = place
        step = execution.steps[path]
        if isinstance(node.does, Waiting):
            execution.conclude(frame, node, step, node.does.over(execution.until(step.wait)))
        elif step.wait is not None and "question" in step.wait.request and isinstance(node.does, CompiledEffect):
            execution.launch(frame, node, policy.told(step, {"approved": False}), node.does)
        else:
            error = StepError("approval-expired", "Nobody agreed to this action in time.")
            execution.decide(frame, node, _unless_handled(node, step.failed(error)))

    def refused(self, path: str, error: StepError) -> None:
        """What a waiting step waits for could not be begun."""
        execution = self._execution
        if execution.is_unwanted(path):
            execution.leaving.give_up(path)
        elif (place := execution.waiting.pop(path, None)) is not None:
            frame, node = place
            step = execution.steps[path]
            handled = node.does.not_begun if isinstance(node.does, Waiting) else None
            ended = step.failed(error) if handled is None else step.handled(error, (ERROR,), **handled)
            execution.decide(frame, node, ended)


def _unless_handled(node: CompiledNode, step: Step) -> Step:
    """A step that failed, or how its definition says to go on."""
    if step.status != "failed" or step.error is None or not isinstance(node.node, EffectNode):
        return step
    if node.node.on_error == "fail" or step.path.endswith(UNDO):
        return step
    return step.handled(step.error, (ERROR,) if node.node.on_error == "handle" else (OUT,))
