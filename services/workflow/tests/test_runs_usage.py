"""What the models of a run were asked is added up: every step that asked counts once, and no other."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import ASK_MODEL, ModelAnswer, ModelRequest, TokenUsage
from crewmesh_contracts.workflow import Definition
from crewmesh_testkit.identities import identity
from crewmesh_workflow.engine.payloads import LARGE_BYTES
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.runs.usage import places_that_ask_models

from services.workflow.tests.conftest import Running

OWNER = identity("workflows:write", "runs:read", "runs:write")


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


async def test_the_sum_of_a_run(service: Running) -> None:
    async def say(request: ModelRequest) -> ModelAnswer:
        usage = TokenUsage(model="m", requests=1, prompt_tokens=10, completion_tokens=5, cost="0.0001")
        return ModelAnswer(text=request.prompt, usage=usage)

    service.sidecar.answer(ASK_MODEL, say)
    ask: JsonObject = {"id": "ask", "kind": "llm", "prompt": "p"}
    nodes: list[JsonValue] = [
        ask,
        {"id": "copy", "kind": "transform", "output": {"usage": "{{ steps.ask.output.usage }}"}},
        {"id": "loop", "kind": "for_each", "items": [1, 2, 3], "body": {"nodes": [{**ask, "id": "inner"}]}},
    ]
    definition: JsonObject = {"name": "asks", "nodes": nodes, "edges": [{"from": "ask", "to": "copy"}]}
    workflow = (await service.post("/v1/workflows", OWNER, definition)).json()["id"]
    run = (await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {})).json()
    assert run["usage"] == {"requests": 4, "prompt_tokens": 40, "completion_tokens": 20, "cost": "0.0004"}
    # What an author has pinned is not checked, and adds nothing to the sum where it is no number.
    nodes[0] = {**ask, "sample": {"usage": {"requests": "many", "prompt_tokens": 1e300}}}
    inner: JsonObject = {**ask, "id": "inner", "sample": {"usage": 7}}
    nodes[2] = {"id": "loop", "kind": "for_each", "items": [1, 2, 3], "body": {"nodes": [inner]}}
    pinned = (await service.post("/v1/workflows", OWNER, definition)).json()["id"]
    tried = (await service.post(f"/v1/workflows/{pinned}/test?wait=50", OWNER, {})).json()
    assert tried["status"] == "completed"
    assert tried["usage"]["requests"] == 0


async def test_of_an_answer_that_is_kept_elsewhere_for_its_size(service: Running) -> None:
    async def say(request: ModelRequest) -> ModelAnswer:
        usage = TokenUsage(model="m", requests=1, prompt_tokens=10, completion_tokens=5, cost="0.0001")
        return ModelAnswer(text="x" * LARGE_BYTES, usage=usage)

    service.sidecar.answer(ASK_MODEL, say)
    definition: JsonObject = {"name": "asks", "nodes": [ask("long")]}
    workflow = (await service.post("/v1/workflows", OWNER, definition)).json()["id"]
    run = (await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {})).json()
    assert run["usage"] == {"requests": 1, "prompt_tokens": 10, "completion_tokens": 5, "cost": "0.0001"}
    step = (await service.get(f"/v1/runs/{run['id']}/steps/long", OWNER)).json()
    assert len(step["output"]["text"]) == LARGE_BYTES
    again = (await service.post(f"/v1/runs/{run['id']}/fork?wait=50", OWNER, {"at": 3})).json()
    assert again["status"] == "completed"
