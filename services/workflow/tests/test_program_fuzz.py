"""Any graph of the right shape becomes a program in an order that respects its edges, or its mistakes are told."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError
from hypothesis import given, settings
from hypothesis import strategies as st

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
PORTS = st.sampled_from(["out", "out", "true", "false", "left", "nowhere"])
READS = st.sampled_from(
    ["steps.a.output.x", "steps.b.output", "steps.c", "item", "vars.x ?? 1", "env.X", "trigger", "?"]
)
TEXTS = st.text(max_size=10) | READS.map("{{{{ {} }}}}".format)
CONDITIONS = st.sampled_from(["true", "steps.a.output.x == 1", "has(steps.b)", "item", "1 +"]) | st.text(min_size=1)


def transform(id_: str, text: str) -> JsonObject:
    return {"id": id_, "kind": "transform", "output": {"x": text}}


def decision(id_: str, condition: str) -> JsonObject:
    return {"id": id_, "kind": "if", "condition": condition[:2_000]}


def parallel(id_: str) -> JsonObject:
    return {"id": id_, "kind": "parallel", "branches": ["left", "right"]}


def loop(id_: str, items: str, body: JsonObject) -> JsonObject:
    return {"id": id_, "kind": "for_each", "items": items, "body": body}


def edge(from_: str, port: str, to: str) -> JsonObject:
    return {"from": from_, "port": port, "to": to}


def graph(nodes: list[JsonValue], edges: list[JsonValue], output: str) -> JsonObject:
    return {"nodes": nodes, "edges": edges, "output": {"o": output}}


PLAIN = st.builds(transform, IDS, TEXTS) | st.builds(decision, IDS, CONDITIONS) | st.builds(parallel, IDS)
EDGES = st.lists(st.builds(edge, IDS, PORTS, IDS), max_size=8)
BODIES = st.builds(graph, st.lists(PLAIN, min_size=1, max_size=2), EDGES, TEXTS)
NODES = st.lists(PLAIN | st.builds(loop, IDS, TEXTS, BODIES), min_size=1, max_size=6)


@settings(max_examples=200)
@given(st.builds(graph, NODES, EDGES, TEXTS))
def test_any_graph(body: JsonObject) -> None:
    definition = Definition.model_validate({"name": "w", **body})
    wrong = told(body)
    assert all(path and message for path, message in wrong)
    if wrong:
        return
    program = compile_program(definition, all_kinds())
    place = {node.id: node.position for node in program.main.nodes}
    assert len(place) == len(definition.nodes)
    assert all(place[edge.from_] < place[edge.to] for edge in definition.edges)


@given(st.builds(graph, NODES, EDGES, TEXTS))
def test_the_same_mistakes_every_time(body: JsonObject) -> None:
    assert told(body) == told(body)


def told(body: JsonObject) -> list[tuple[str, str]]:
    try:
        compile_program(Definition.model_validate({"name": "w", **body}), all_kinds())
    except InvalidDefinitionError as error:
        return [(mistake.path, mistake.message) for mistake in error.mistakes]
    return []
