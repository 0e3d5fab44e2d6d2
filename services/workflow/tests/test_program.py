"""What a definition is compiled to: nodes in order, their edges, nested graphs, compensations, joins, rules."""

from __future__ import annotations

from itertools import pairwise

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.definitions.checking import check
from crewmesh_workflow.expressions import ExpressionError, Scope
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.nodes.base import CompiledEffect, Decision, Each, Place, Repeat
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.model import Program


def compiled(nodes: list[JsonValue], edges: list[JsonValue] | None = None, **more: JsonValue) -> Program:
    body: JsonObject = {"name": "w", "nodes": nodes, "edges": edges or [], **more}
    return compile_program(Definition.model_validate(body), all_kinds())


def transform(id_: str, **output: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "transform", "output": output}


def edge(from_: str, to: str, port: str = "out") -> JsonObject:
    return {"from": from_, "port": port, "to": to}


def http(id_: str, url: str = "https://x", **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "http", "url": url, **more}


def test_nodes_come_after_all_before_them() -> None:
    program = compiled(
        [transform("d"), transform("c"), transform("b"), transform("a")],
        [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")],
    )
    order = [node.id for node in program.main.nodes]
    assert order[0] == "a"
    assert order[-1] == "d"
    assert [node.position for node in program.main.nodes] == [0, 1, 2, 3]
    assert [edge.from_ for edge in program.main.by_id["d"].incoming] == ["b", "c"]
    assert [edge.to for edge in program.main.by_id["a"].outgoing] == ["b", "c"]
    assert program.main.by_id["a"] is program.main.nodes[0]


def test_the_output_sees_every_step() -> None:
    program = compiled([transform("a", x=1)], output={"y": "{{ steps.a.output.x }}!"})
    assert program.main.render_output(Scope({}, {"a": {"x": 1}})) == {"y": "1!"}


def test_a_body_sees_the_steps_before_its_holder() -> None:
    body: JsonObject = {
        "nodes": [transform("inner", v="{{ item }} {{ steps.before.output.items }}")],
        "output": {"v": "{{ steps.inner.output.v }}"},
    }
    program = compiled(
        [
            transform("before", items="{{ trigger.data }}"),
            {"id": "loop", "kind": "for_each", "items": "{{ steps.before.output.items }}", "body": body},
            {"id": "again", "kind": "while", "condition": "index < 2", "body": {"nodes": [transform("inner")]}},
            transform("after", v="{{ steps.loop.output.items[0].v }} {{ steps.again.output.iterations }}"),
        ],
        [edge("before", "loop"), edge("loop", "again"), edge("again", "after")],
    )
    each, repeat = program.main.by_id["loop"].does, program.main.by_id["again"].does
    assert isinstance(each, Each)
    assert isinstance(repeat, Repeat)
    assert [node.id for node in each.body.nodes] == ["inner"]
    assert each.body.render_output(Scope({}, {"inner": {"v": 2}})) == {"v": 2}


def test_a_compensation_sees_the_step_it_undoes() -> None:
    undo: JsonObject = {"do": http("whatever", "https://x/{{ steps.book.output.body.id }}", method="DELETE")}
    program = compiled([http("book", compensate=undo), transform("after")], [edge("book", "after")])
    node = program.main.by_id["book"]
    assert node.undo is not None
    assert (node.undo.id, node.undo.position, node.undo.incoming) == ("book", node.position, ())
    assert isinstance(node.undo.does, CompiledEffect)
    rendered = node.undo.does.render(Scope({}, {"book": {"body": {"id": 7}}}))
    assert rendered["url"] == "https://x/7"


def test_what_leads_only_to_a_join() -> None:
    program = compiled(
        [
            {"id": "start", "kind": "parallel", "branches": ["one", "two"]},
            transform("a"),
            transform("a2"),
            transform("b"),
            transform("aside"),
            {"id": "meet", "kind": "join", "mode": "any"},
            transform("after"),
        ],
        [
            edge("start", "a", "one"),
            edge("a", "a2"),
            edge("a2", "meet"),
            edge("start", "b", "two"),
            edge("b", "meet"),
            edge("b", "aside"),
            edge("meet", "after"),
        ],
    )
    assert program.main.by_id["meet"].only_before == {"a", "a2"}
    assert program.main.by_id["after"].only_before == frozenset()


def test_failure_handler_and_rules() -> None:
    program = compiled(
        [transform("a", x=1)],
        on_failure={"nodes": [transform("tell", why="{{ error.detail }} {{ steps.a.output.x ?? 0 }}")]},
        settings={"mode": "hybrid", "approval_rules": [{"when": "node.kind == 'http' && input.method != 'GET'"}]},
    )
    assert program.on_failure is not None
    assert [node.id for node in program.on_failure.nodes] == ["tell"]
    (rule,) = program.rules
    assert rule.number == 0
    assert rule.when.evaluate(Scope({"node": {"kind": "http"}, "input": {"method": "POST"}}, {}))


def test_a_long_chain_compiles() -> None:
    names = [f"n{number}" for number in range(500)]
    nodes: list[JsonValue] = [transform(name) for name in names]
    edges: list[JsonValue] = [edge(one, other) for one, other in pairwise(names)]
    assert [node.id for node in compiled(nodes, edges).main.nodes] == names


def test_what_was_published_before_still_compiles() -> None:
    """A part of a condition that can have no value is refused when it is saved; it may never be reached in a run."""
    ask: JsonObject = {"id": "ask", "kind": "if", "condition": "true || 84 * 1.19 > 1.0"}
    edges: list[JsonValue] = [edge("ask", "then", "true")]
    document: JsonObject = {"name": "w", "nodes": [ask, transform("then")], "edges": edges}
    assert check(document, stored=True).mistakes == ()
    mistakes = check(document).mistakes
    assert [mistake.path for mistake in mistakes] == ["nodes.ask.condition"]
    assert "write double(84) * 1.19" in mistakes[0].message


def test_a_condition_without_a_value_says_where_it_stands() -> None:
    many: JsonValue = [{"port": "a", "condition": "false"}, {"port": "b", "condition": "trigger.n * 1.5 > 2.0"}]
    rule: JsonObject = {"when": "input.sum * 1.19 > 100.0"}
    nodes: list[JsonValue] = [{"id": "many", "kind": "switch", "cases": many}, transform("then")]
    program = compiled(nodes, [edge("many", "then", "b")], settings={"approval_rules": [rule]})
    switch = program.main.by_id["many"].does
    assert isinstance(switch, Decision)
    with pytest.raises(
        ExpressionError, match=r"^nodes\.many\.cases\.1\.condition: .* write double\(trigger\.n\) \* 1\.5"
    ):
        switch.decide(Place("run_1", "many", Scope({"trigger": {"n": 84}}, {})))
    with pytest.raises(
        ExpressionError, match=r"^settings\.approval_rules\.0\.when: .* write double\(input\.sum\) \* 1\.19"
    ):
        program.rules[0].when.evaluate(Scope({"input": {"sum": 84}}, {}))
