"""The examples of the guide are run: workflows as test runs, code in the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import cast
from unittest.mock import ANY

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Graph
from crewmesh_contracts.workflow.nodes.code import CodeNode
from crewmesh_kit.documents.yaml_text import read_yaml
from crewmesh_workflow.sandbox.model import CodeRequest
from crewmesh_workflow.sandbox.service import Sandbox

from services.workflow.tests.conftest import Bench
from services.workflow.tests.test_guide import blocks

TRIGGER: JsonObject = {
    "question": "How long?", "callback_url": "https://example.com", "job": 7, "order": "o-7", "sum": 2_000,
    "name": "Zoë", "address": "Here 1",
}  # fmt: skip
SAMPLES: JsonObject = {
    "unpaid": {"status": 200, "headers": {}, "body": [{"name": "Zoë", "mail": "zoe@example.com", "sum": 5}]},
    "look": {"status": 200, "headers": {}, "body": {"state": "done"}},
    "paid": {"event": {"data": {"sum": 2_000}}},
    "agree": {"approved": True, "data": {"address": "There 2"}, "decisions": []},
}
# What comes out, and the steps that are completed.
ENDS: dict[str, tuple[JsonObject, set[str]]] = {
    "Answer a question": ({"answer": "sample"}, {"search", "answer", "wants-callback", "deliver"}),
    "Four ways to begin": ({"started": ANY}, {"note"}),
    "Ask two models, take the first": ({"text": "sample"}, {"both", "one", "other", "first"}),
    "Remind everybody": (
        {"sent": [{"sent": "zoe@example.com"}], "failed": []},
        {"unpaid", "remind", "remind[0].write", "remind[0].send"},
    ),
    "Ask until it is ready": ({"state": "done"}, {"poll", "poll[0].pause", "poll[0].look"}),
    "Ship what is paid": ({}, {"paid", "big", "agree", "ship"}),
    "Book a trip": ({}, {"hotel", "weather", "flight"}),
    "Ask before spending": ({}, {"pay"}),
}


def examples() -> dict[str, JsonObject]:
    read = [cast(JsonObject, read_yaml(block)) for block in blocks("yaml")]
    return {str(example["name"]): example for example in read if "name" in example}


def test_every_workflow_is_here() -> None:
    assert set(examples()) == set(ENDS)


@pytest.mark.parametrize("name", ENDS)
async def test_every_workflow_ends_as_it_should(bench: Bench, name: str) -> None:
    output, completed = ENDS[name]
    example = {"edges": [], **examples()[name]}
    nodes, edges = (cast("list[JsonValue]", example.pop(member)) for member in ("nodes", "edges"))
    workflow = await bench.save(nodes, edges, **example)
    run = await bench.start(workflow, TRIGGER, test=True, samples=SAMPLES)
    await bench.settle()
    row = await bench.row(run)
    assert row["status"] == "completed"
    assert row["output"] == output
    assert {path for path, step in (await bench.steps(run)).items() if step["status"] == "completed"} == completed


async def test_the_code_gives_what_one_would_expect(tmp_path: Path) -> None:
    inputs: dict[str, JsonObject] = {
        "total": {
            "orders": [{"sum": 10, "paid": True}, {"sum": 5, "paid": False}, {"sum": 20, "paid": True}],
            "rate": 0.19,
        },
        "names": {"people": [{"name": " Zoë"}, {"name": "Ada "}]},
    }
    results: dict[str, JsonValue] = {"total": 35.7, "names": ["Ada", "Zoë"]}
    sandbox = Sandbox(str(tmp_path), workers=1)
    for node in code_nodes():
        request = CodeRequest(language=node.language, source=node.source, inputs=inputs[node.id], timeout_seconds=60)
        assert (await sandbox.run(request)).result == results.pop(node.id)
    await sandbox.close()
    assert not results


def code_nodes() -> list[CodeNode]:
    graphs = [
        Graph.model_validate(cast(JsonObject, read_yaml(block))) for block in blocks("yaml") if "kind: code" in block
    ]
    return [node for graph in graphs for node in graph.nodes if isinstance(node, CodeNode)]
