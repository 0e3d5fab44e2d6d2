"""What one commit tells is in the order in which one thing led to the other."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.steps import StepError
from crewmesh_workflow.engine.turn import Facts, Turn
from crewmesh_workflow.engine.turns import commit_of
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.model import Program

BOTH: JsonValue = {"id": "both", "kind": "parallel", "branches": ["one", "two"]}


def search(id_: str, **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": "q", **more}


UNDONE: JsonValue = search("a", compensate={"do": search("back")})
WAYS: list[JsonValue] = [
    {"from": "a", "to": "both"},
    {"from": "both", "port": "one", "to": "b"},
    {"from": "both", "port": "two", "to": "c"},
]
COPY: JsonObject = {"id": "t", "kind": "transform", "output": {"x": 1}}


def program_of(nodes: list[JsonValue], edges: list[JsonValue]) -> Program:
    return compile_program(Definition.model_validate({"name": "w", "nodes": nodes, "edges": edges}), all_kinds())


def told(program: Program, turn: Turn) -> list[str]:
    return [f"{event.type} {event.data.get('node') or ''}".strip() for event in commit_of(program, turn).events]


@pytest.mark.parametrize(
    "loop",
    [
        {"kind": "for_each", "items": [1, 2]},
        {"kind": "while", "condition": "index < 2", "max_iterations": 5},
    ],
)
def test_a_loop_is_done_behind_its_rounds(loop: JsonObject) -> None:
    body: JsonObject = {"nodes": [COPY]}
    nodes: list[JsonValue] = [{**loop, "id": "loop", "body": body}, {**COPY, "id": "then"}]
    program = program_of(nodes, [{"from": "loop", "to": "then"}])
    turn = Execution(program, Facts("run_1", {})).begin()
    assert told(program, turn) == [
        "step.completed loop[0].t", "step.completed loop[1].t", "step.completed loop", "step.completed then",
        "run.completed",
    ]  # fmt: skip


def test_a_run_is_being_cancelled_before_what_was_done_is_undone() -> None:
    program = program_of([UNDONE, BOTH, search("b"), search("c")], WAYS)
    execution = Execution(program, Facts("run_1", {}))
    [ready] = execution.begin().ready
    execution.happened([ready.step.completed({"text": "", "hits": []})])
    assert told(program, execution.cancel()) == [
        "run.cancelling", "step.cancelled b", "step.cancelled c", "step.started a!undo"
    ]  # fmt: skip


def test_a_run_fails_behind_the_step_that_failed_and_before_what_is_given_up() -> None:
    ask: JsonObject = {"id": "c", "kind": "delay", "seconds": 60}
    program = program_of([UNDONE, BOTH, search("b"), ask], WAYS)
    execution = Execution(program, Facts("run_1", {}))
    [ready] = execution.begin().ready
    [broken] = execution.happened([ready.step.completed({"text": "", "hits": []})]).ready
    turn = execution.happened([broken.step.failed(StepError("upstream-failed", "it broke"))])
    assert told(program, turn) == ["step.failed b", "run.failing b", "step.cancelled c", "step.started a!undo"]
