"""One node of a definition, bound by the real compiler, and a place in a run for it to be decided in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations import Invocation, Payer
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.base import NODE_KINDS
from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.nodes.base import Behaviour, Place
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError
from crewmesh_workflow.program.model import Program
from crewmesh_workflow.sandbox.model import CodeRequest, CodeResult

BehaviourT = TypeVar("BehaviourT", bound=Behaviour)
RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)

RUN = "run_" + "1" * 32
ROOTS: JsonObject = {
    "trigger": {
        "kind": "api",
        "data": {"n": 3, "name": "Zoë", "items": ["a", "b"], "when": "2026-03-01T09:00:00+01:00", "none": None},
    },
    "vars": {"total": 7},
    "env": {},
    "run": {"id": RUN, "workflow": "wf_" + "1" * 32, "version": 1, "started_at": "2026-01-01T00:00:00Z"},
}


def does(kind: str, expected: type[BehaviourT], /, **members: JsonValue) -> BehaviourT:
    """What the node ``n`` of this kind does; it stands after a node ``before``, whose output is anything.

    It was saved before, so that what can never work is told when it is done.
    """
    behaviour = _program(kind, members, stored=True).main.by_id["n"].does
    assert isinstance(behaviour, expected)
    return behaviour


def _program(kind: str, members: JsonObject, *, stored: bool) -> Program:
    node = NODE_KINDS.all()[kind].model_validate({"id": "n", "kind": kind, **members})
    definition = Definition.model_validate(
        {
            "name": "One node",
            "nodes": [
                {"id": "variables", "kind": "set", "variables": {"total": 7}},
                {"id": "before", "kind": "transform", "output": {"x": "{{ trigger.data }}"}},
                node,
                {"id": "after", "kind": "transform", "output": {}},
            ],
            "edges": [
                {"from": "variables", "to": "before"},
                *({"from": before, "to": "n"} for before in ("variables", "before")),
                *({"from": "n", "port": port, "to": "after"} for port in node.ports),
            ],
        }
    )
    return compile_program(definition, all_kinds(), stored=stored)


def mistakes(kind: str, /, **members: JsonValue) -> dict[str, str]:
    """What is wrong with such a node, by path."""
    with pytest.raises(InvalidDefinitionError) as refused:
        _program(kind, members, stored=False)
    return {mistake.path: mistake.message for mistake in refused.value.mistakes}


def scope(**roots: JsonValue) -> Scope:
    return Scope({**ROOTS, **roots}, {"before": {"x": 1, "big": "y" * 10}})


def place(path: str = "n", **roots: JsonValue) -> Place:
    return Place(RUN, path, scope(**roots))


PAYER = Payer(workflow="wf_1", run=RUN, step="n", started_by="usr_1", teams=("team_1",))


@dataclass
class Outside:
    """What an effect reaches, scripted: ``answers`` are given or raised one after another."""

    answers: list[Reply | Exception] = field(default_factory=list[Reply | Exception])
    calls: list[tuple[str, JsonObject, str]] = field(default_factory=list[tuple[str, JsonObject, str]])
    children: list[tuple[str, JsonObject]] = field(default_factory=list[tuple[str, JsonObject]])
    key: str = f"{RUN}/n"
    seconds_left: float = 60.0

    @property
    def payer(self) -> Payer:
        return PAYER

    async def call(
        self, invocation: Invocation[RequestT, ResultT], request: RequestT, *, key: str | None = None
    ) -> ResultT:
        assert type(request) is invocation.request
        self.calls.append((invocation.path, request.model_dump(mode="json"), key or self.key))
        answer = self._next()
        assert isinstance(answer, invocation.result)
        return answer

    async def start_child(self, workflow: str, inputs: JsonObject) -> str:
        self.children.append((workflow, inputs))
        return "run_" + "2" * 32

    async def run_code(self, request: CodeRequest) -> CodeResult:
        self.calls.append(("code", request.model_dump(mode="json"), self.key))
        answer = self._next()
        assert isinstance(answer, CodeResult)
        return answer

    def _next(self) -> Reply:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
