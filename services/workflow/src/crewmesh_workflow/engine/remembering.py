"""What a loop that is over leaves behind besides its output: variables that were set in it, and what it did that may
have to be undone.

A loop that is over is not opened again when a run is taken up from its journal, so its rounds are gone through here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.set_ import SetNode

from crewmesh_workflow.engine.frames import Frame
from crewmesh_workflow.engine.steps import OVER, Step
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.nodes.base import Each, Repeat
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode

if TYPE_CHECKING:
    from crewmesh_workflow.engine.execution import Execution


def remember_joins(execution: Execution, frame: Frame) -> None:
    """Tell ``frame`` what its joins were reached without: what had not ended by then."""
    for node in frame.graph.nodes:
        join = execution.steps.get(frame.path(node)) if node.only_before else None
        if join is not None and join.status == "completed" and join.finished is not None:
            for before in node.only_before:
                step = execution.steps.get(frame.prefix + before)
                if step is None or step.finished is None or step.finished > join.finished:
                    frame.left_behind.add(before)


def remember_rounds(execution: Execution, frame: Frame, loop: CompiledNode, step: Step) -> None:
    """Tell ``execution`` of every step that was completed in the rounds of ``loop``, whose ``step`` is over."""
    does = loop.does
    if isinstance(does, Each) and _leaves_something(does.body):
        for index, item in enumerate(_items(frame, does, step)):
            _remember_round(execution, _round(frame, does.body, step, index, {"item": item}))
    elif isinstance(does, Repeat) and _leaves_something(does.body):
        last: JsonValue = None
        for index in range(step.rounds):
            round_ = _round(frame, does.body, step, index, {"last": last})
            _remember_round(execution, round_)
            last = _output(round_)


def _items(frame: Frame, does: Each, step: Step) -> list[JsonValue]:
    """As they were. A loop that was over as soon as it had begun did not write them down."""
    if step.input is not None:
        return cast("list[JsonValue]", step.input["items"])
    try:
        return does.items(frame.scope())
    except ExpressionError:
        return []  # then it had none, and failed for that reason


def _round(frame: Frame, body: CompiledGraph, step: Step, index: int, about: JsonObject) -> Frame:
    roots = {**frame.roots, **about, "index": index}
    return Frame(f"{step.path}[{index}].", body, roots, parent=frame, holder=step.path, index=index)


def _remember_round(execution: Execution, round_: Frame) -> None:
    remember_joins(execution, round_)
    for node in round_.graph.nodes:
        step = execution.steps.get(round_.path(node))
        if step is None or step.status not in OVER:
            continue
        remember_rounds(execution, round_, node, step)
        if step.status == "completed":
            execution.completed(round_, node, step)


def _output(round_: Frame) -> JsonValue:
    try:
        return round_.graph.render_output(round_.scope())
    except ExpressionError:
        return None  # the round that failed was the last one


@lru_cache(maxsize=1_000)
def _leaves_something(graph: CompiledGraph) -> bool:
    return any(
        isinstance(node.node, SetNode)
        or node.undo is not None
        or (isinstance(node.does, Each | Repeat) and _leaves_something(node.does.body))
        for node in graph.nodes
    )
