"""What a test run goes on with: samples that are checked, and made-up values that follow their schemas."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_testkit.identities import identity
from crewmesh_workflow.engine.pretend import example
from crewmesh_workflow.json_schemas import mistakes
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.runs.samples import InvalidSamples, check_samples
from crewmesh_workflow.schema_examples import NoExampleError, checked_example

from services.workflow.tests.conftest import Running

OWNER = identity("workflows:write", "workflows:read", "runs:read", "runs:write")
PERSON: JsonObject = {
    "type": "object",
    "required": ["name", "age"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
}
NODES: list[JsonValue] = [
    {"id": "fetch", "kind": "http", "url": "https://example.com", "method": "GET"},
    {"id": "find", "kind": "llm", "task": "extract", "prompt": "p", "output_schema": PERSON},
    {"id": "sort", "kind": "llm", "task": "classify", "prompt": "p", "labels": ["good", "bad"]},
    {"id": "fill", "kind": "input", "title": "t", "form": PERSON},
    {"id": "agree", "kind": "approval", "title": "t"},
    {"id": "loop", "kind": "for_each", "items": [1], "body": {"nodes": [
        {"id": "send", "kind": "http", "url": "https://example.com"},
    ]}},
]  # fmt: skip
EDGES: list[JsonValue] = [{"from": "agree", "port": "approved", "to": "loop"}]
DEFINITION: JsonObject = {"name": "samples", "nodes": NODES, "edges": EDGES}
SCHEMAS: dict[str, JsonObject] = {
    "enum": {"enum": ["a", "b"]},
    "const": {"const": 7},
    "default": {"type": "string", "default": "d"},
    "minimum": {"type": "integer", "minimum": 18},
    "exclusive": {"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 7},
    "negative": {"type": "number", "maximum": -3.5},
    "between": {"type": "number", "exclusiveMinimum": 0.2, "maximum": 0.3},
    "multiple": {"type": "integer", "multipleOf": 15, "minimum": 100},
    "long": {"type": "string", "minLength": 50},
    "short": {"type": "string", "maxLength": 2},
    "two": {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
    "none": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    "required": {"required": ["x"]},
    "nullable": {"type": ["null", "integer"], "minimum": 3},
    "one": {"oneOf": [{"type": "string", "pattern": "^[0-9]$"}, {"type": "integer", "minimum": 2}]},
    "any": {"anyOf": [{"required": ["a"]}, {"type": "null"}], "properties": {"a": {"type": "boolean"}}},
    "all": {"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"n": {"minimum": 4}}}], "$defs": {
        "a": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "maximum": 9}}},
    }},
    "optional": {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}}},
    **{name: {"type": "string", "format": name} for name in ("date", "date-time", "email", "uri", "uuid")},
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_made_up_follows_the_schema(name: str) -> None:
    whole: JsonObject = {"type": "object", "required": [name], "properties": {name: SCHEMAS[name]}}
    for schema in (SCHEMAS[name], whole) if "$defs" not in SCHEMAS[name] else (SCHEMAS[name],):
        assert mistakes(schema, checked_example(schema)) == []


def test_what_cannot_be_made_up_is_said() -> None:
    schema: JsonObject = {"required": ["code"], "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}}}
    with pytest.raises(NoExampleError, match=r"it\.code"):
        checked_example(schema)


def test_a_request_that_is_not_sent_went_well() -> None:
    assert example(HttpNode)["status"] == 200


@pytest.mark.parametrize(
    ("samples", "places"),
    [
        ({"fetch": {"status": 200, "body": {"x": 1}}, "loop[0].send": {"status": 404}, "send": {}}, []),
        ({"find": {"data": {"name": "Ada", "age": 3}}, "sort": {"label": "bad"}, "agree": {"approved": False}}, []),
        ({"fetsh": {}}, ["samples.fetsh"]),
        ({"loop.nobody": {}, "fetch": {"status": "ok"}}, ["samples.loop.nobody", "samples.fetch.status"]),
        ({"find": {"data": {"name": 3}}}, ["samples.find.data", "samples.find.data.name"]),
        ({"fill": {"data": {"name": "A", "age": "old"}}}, ["samples.fill.data.age"]),
        ({"sort": {"label": "ugly"}}, ["samples.sort.label"]),
        ({"agree": {"approved": "yes"}}, ["samples.agree.approved"]),
    ],
)
def test_every_sample_fits_a_step(samples: dict[str, JsonObject], places: list[str]) -> None:
    program = compile_program(Definition.model_validate(DEFINITION), all_kinds())
    if not places:
        check_samples(program, samples)
        return
    with pytest.raises(InvalidSamples) as raised:
        check_samples(program, samples)
    errors = raised.value.extensions["errors"]
    assert isinstance(errors, list)
    told = [error for error in errors if isinstance(error, dict)]
    assert sorted(str(error["path"]) for error in told) == sorted(places)
    if "fetsh" in samples:
        assert "there are fetch" in str(told[0]["message"])


async def test_in_a_test_run(service: Running) -> None:
    workflow = (await service.post("/v1/workflows", OWNER, DEFINITION)).json()["id"]
    address = f"/v1/workflows/{workflow}/test?wait=50"
    refused = await service.post(address, OWNER, {"samples": {"fetsh": {}}})
    assert refused.status_code == 422, refused.text
    assert refused.json()["type"].endswith("/invalid-samples")
    run = (await service.post(address, OWNER, {})).json()
    assert run["status"] == "completed", run
    steps = (await service.get(f"/v1/runs/{run['id']}/steps", OWNER)).json()["items"]
    outputs = {step["path"]: step["output"] for step in steps}
    assert (outputs["fetch"]["status"], outputs["sort"]["label"]) == (200, "good")
    for data in (outputs["find"]["data"], outputs["fill"]["data"]):
        assert mistakes(PERSON, data) == []


async def test_a_form_that_nobody_can_make_up_asks_for_a_sample(service: Running) -> None:
    form: JsonObject = {"required": ["code"], "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}}}
    nodes: list[JsonValue] = [{"id": "fill", "kind": "input", "title": "t", "form": form}]
    workflow = (await service.post("/v1/workflows", OWNER, {"name": "n", "nodes": nodes})).json()["id"]
    run = (await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, {})).json()
    assert (run["error"]["type"], run["error"]["node"]) == ("sample-needed", "fill")
    assert "give a sample for 'fill'" in run["error"]["detail"]
    given: JsonObject = {"samples": {"fill": {"data": {"code": "ABC"}}}}
    assert (await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, given)).json()["status"] == "completed"
