"""Joins of an execution: what they are reached without is left behind.

A node that leads nowhere but to a join is not wanted any more when the join is reached without it. Most of what is
under way there is cancelled at once. What has to end (see ``leaving``) does so while the run goes on behind the join:
its result is journalled and can be undone, but nothing follows from it, and its output is for its compensation only.
The run, or the round of a loop, is not done before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crewmesh_workflow.engine.frames import Frame
from crewmesh_workflow.engine.remembering import remember_rounds
from crewmesh_workflow.engine.steps import OVER, Step, StepError
from crewmesh_workflow.nodes.base import Meeting
from crewmesh_workflow.program.model import CompiledNode

if TYPE_CHECKING:
    from crewmesh_workflow.engine.execution import Execution


class Joins:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def meet(self, frame: Frame, node: CompiledNode, step: Step, meeting: Meeting) -> None:
        """The join is reached, or never will be."""
        arrived = frame.taken[node.id]
        if meeting.needed is not None and len(arrived) < meeting.needed:
            detail = f"Only {len(arrived)} of the {meeting.needed} branches that the join needs can arrive."
            self._execution.decide(frame, node, step.failed(StepError("join-not-reached", detail)))
            return
        self._execution.decide(frame, node, step.completed({"arrived": [*arrived]}))
        for before in node.only_before:
            if before not in frame.decided:
                self._leave_behind(frame, frame.graph.by_id[before])

    def _leave_behind(self, frame: Frame, node: CompiledNode) -> None:
        execution, path = self._execution, frame.path(node)
        known = execution.steps.get(path)
        if known is not None and known.status in OVER:
            remember_rounds(execution, frame, node, known)
            execution.decide(frame, node, known)
            return
        frame.left_behind.add(node.id)
        if known is None:
            execution.decide(frame, node, Step(path, "skipped"))
            return
        execution.leaving.wind_up_one(path)
        execution.leaving.wind_up(f"{path}[")
        if not execution.leaving.has_to_end(path) and not execution.leaving.bound_inside(f"{path}["):
            execution.loops.close(path)
            execution.decide(frame, node, execution.steps[path].cancelled())
