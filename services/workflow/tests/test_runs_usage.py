"""Which steps count when the use of models is added up."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.runs.usage import places_that_ask_models


def ask(id_: str) -> JsonObject:
    return {"id": id_, "kind": "llm", "prompt": "p"}


def test_every_place_that_asks_a_model_and_no_other() -> None:
    body: JsonObject = {
        "name": "w",
        "nodes": [
            {**ask("a"), "compensate": {"do": ask("sorry")}},
            {"id": "t", "kind": "transform", "output": {"usage": "{{ steps.a.output.usage }}"}},
            {"id": "loop", "kind": "for_each", "items": [1], "body": {"nodes": [ask("inner")]}},
            {"id": "who", "kind": "agent", "agent": "someone", "task": "t"},
        ],
        "edges": [{"from": "a", "to": "t"}],
        "on_failure": {"nodes": [ask("explain")]},
    }
    program = compile_program(Definition.model_validate(body), all_kinds())
    assert sorted(places_that_ask_models(program)) == ["!failure.explain", "a", "a!undo", "loop.inner", "who"]
