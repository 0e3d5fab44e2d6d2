"""What is refused when a definition is saved: where it is, and what is said; and what must not be refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError

SEARCH: JsonObject = {"id": "search", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"}


def transform(id_: str, **output: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "transform", "output": output}


def edge(from_: str, to: str, port: str = "out") -> JsonObject:
    return {"from": from_, "port": port, "to": to}


def line(*nodes: JsonObject, **more: JsonValue) -> JsonObject:
    """A definition whose nodes follow each other, each by the first port of the one before."""
    ports = {"if": "true", "approval": "approved", "parallel": "left"}
    pairs = pairwise(nodes)
    edges = [edge(str(one["id"]), str(two["id"]), ports.get(str(one["kind"]), "out")) for one, two in pairs]
    return {"nodes": [*nodes], "edges": [*edges], **more}


def pair(*edges: JsonObject) -> JsonObject:
    return {"nodes": [transform("a"), transform("b")], "edges": [*edges]}


def loop(id_: str, body: JsonObject, items: JsonValue = "{{ trigger.data }}") -> JsonObject:
    return {"id": id_, "kind": "for_each", "items": items, "body": body}


def nested(levels: int) -> JsonObject:
    graph = line(transform("innermost"))
    for level in range(levels):
        graph = line(loop(f"level{level}", graph))
    return graph


def mistakes(definition: JsonObject) -> dict[str, str]:
    try:
        compile_program(Definition.model_validate({"name": "w", **definition}), all_kinds())
    except InvalidDefinitionError as error:
        return {mistake.path: mistake.message for mistake in error.mistakes}
    return {}


WRONG: dict[str, tuple[JsonObject, str, str]] = {
    "two nodes of one id": ({"nodes": [transform("a"), transform("a")]}, "nodes.a", "an id of its own"),
    "no such node": ({"nodes": [transform("a")], "edges": [edge("a", "b")]}, "edges.0", "no node 'b'"),
    "no such port": (pair(edge("a", "b", "true")), "edges.0", "use out"),
    "after the end": (line({"id": "a", "kind": "fail", "message": "m"}, transform("b")), "edges.0", "ends the run"),
    "an edge twice": (
        pair(edge("a", "b"), edge("a", "b")),
        "edges.1",
        "twice",
    ),
    "a circle": (
        pair(edge("a", "b"), edge("b", "a")),
        "edges.1",
        "put what repeats into the body of a for_each or while",
    ),
    "a circle of one": ({"nodes": [transform("a")], "edges": [edge("a", "a")]}, "edges.0", "a → a is a circle"),
    "never reached": (
        {
            "nodes": [{"id": "ask", "kind": "approval", "title": "t"}, transform("late")],
            "edges": [edge("ask", "late", "expired")],
        },
        "nodes.late",
        "give 'ask' expires_seconds",
    ),
    "a decision about nothing": (line({"id": "a", "kind": "if", "condition": "true"}), "nodes.a", "add an edge"),
    "a join that waits for too many": (
        line(transform("a"), {"id": "j", "kind": "join", "mode": "count", "count": 2}),
        "nodes.j",
        "waits for 2 branches, but 1",
    ),
    "no such step": (line(transform("a", x="{{ steps.b.output }}")), "nodes.a.output.x", "no step 'b'"),
    "a step that is not before": (
        {"nodes": [transform("a", x="{{ steps.b.output ?? 1 }}"), transform("b")]},
        "nodes.a.output.x",
        "does not come before",
    ),
    "itself": (line(transform("a", x="{{ steps.a.output }}")), "nodes.a.output.x", "does not come before"),
    "a step inside of a loop": (
        line(loop("l", line(transform("inner"))), transform("b", x="{{ steps.inner.output }}")),
        "nodes.b.output.x",
        "read what that gives: steps.l.output",
    ),
    "more than the output of a step": (
        line(SEARCH, transform("b", x="{{ steps.search.hits }}")),
        "nodes.b.output.x",
        "only its output",
    ),
    "a member that an output lacks": (
        line(SEARCH, transform("b", x=["{{ steps.search.output.hitz }}"])),
        "nodes.b.output.x.0",
        "search has hits and text, not hitz",
    ),
    "a member deep inside": (
        line(SEARCH, transform("b", x="{{ steps.search.output.hits[0].titel }}")),
        "nodes.b.output.x",
        "search.hits[0] has document, title, position, text and score, not titel",
    ),
    "a member of a text": (
        line(SEARCH, transform("b", x="{{ steps.search.output.text[0] }}")),
        "nodes.b.output.x",
        "search.text is a text",
    ),
    "a member that a transform does not give": (
        line(transform("a", x=1), transform("b", x="{{ steps.a.output.y }}")),
        "nodes.b.output.x",
        "a has x, not y",
    ),
    "a member that a body does not give": (
        line(loop("l", line(transform("i"), output={"v": 1})), transform("b", x="{{ steps.l.output.items[0].w }}")),
        "nodes.b.output.x",
        "l.items[0] has v, not w",
    ),
    "item outside of a loop": (line(transform("a", x="{{ item }}")), "nodes.a.output.x", "body of a for_each"),
    "error in the main graph": (line(transform("a", x="{{ error.detail }}")), "nodes.a.output.x", "in on_failure"),
    "no such constant": (line(transform("a", x="{{ env.X }}")), "nodes.a.output.x", "add it to env"),
    "no such variable": (line(transform("a", x="{{ vars.x }}")), "nodes.a.output.x", "let a set node set it"),
    "nothing that a run has": (line(transform("a", x="{{ run.nr }}")), "nodes.a.output.x", "not nr"),
    "a bad expression": (line(transform("a", x="{{ trigger.data | shout }}")), "nodes.a.output.x", "no filter 'shout'"),
    "a bad expression in a body": (
        line(loop("l", line({"id": "h", "kind": "http", "url": "{{ nope }}"}))),
        "nodes.l.body.nodes.h.url",
        "a path starts with",
    ),
    "a bad output": (line(transform("a"), output={"answer": "{{ steps.b }}"}), "output.answer", "no step 'b'"),
    "a bad output of a body": (
        line(loop("l", line(transform("a"), output={"x": "{{ steps.b }}"}))),
        "nodes.l.body.output.x",
        "no step 'b'",
    ),
    "a bad compensation": (
        line(
            {
                "id": "h",
                "kind": "http",
                "url": "https://x.test",
                "compensate": {"do": {"id": "u", "kind": "http", "url": "{{ steps.h.output.bodi }}"}},
            }
        ),
        "nodes.h.compensate.do.url",
        "h has status, headers and body, not bodi",
    ),
    "bad CEL": (line({"id": "a", "kind": "if", "condition": "1 +"}, transform("b")), "nodes.a.condition", "valid CEL"),
    "a condition over a step that is not there": (
        line({"id": "a", "kind": "if", "condition": "steps.b.output.x > 1"}, transform("c")),
        "nodes.a.condition",
        "no step 'b'",
    ),
    "a condition over a member that is not there": (
        line(SEARCH, {"id": "a", "kind": "if", "condition": "size(steps.search.output.hitz) > 0"}, transform("c")),
        "nodes.a.condition",
        "not hitz",
    ),
    "a condition that is a text": (
        line(SEARCH, {"id": "a", "kind": "if", "condition": "steps.search.output.text"}, transform("c")),
        "nodes.a.condition",
        "must be true or false, but this is a text",
    ),
    "a text to go through": (
        line(SEARCH, loop("l", line(transform("i")), "{{ steps.search.output.text }}")),
        "nodes.l.items",
        "must be a list, but it is a text",
    ),
    "words to go through": (line(loop("l", line(transform("i")), "a, b")), "nodes.l.items", "must be a list"),
    "a list of seconds": (
        line(SEARCH, {"id": "d", "kind": "delay", "seconds": "{{ steps.search.output.hits }}"}),
        "nodes.d.seconds",
        "must be a number or a text, but it is a list",
    ),
    "a bad cron expression": (
        line(transform("a"), triggers=[{"kind": "cron", "expression": "0 0 31 2 *"}]),
        "triggers.0.expression",
        "0 0 31 2 *",
    ),
    "a bad time zone": (
        line(transform("a"), triggers=[{"kind": "cron", "expression": "0 0 * * *", "timezone": "Mars/Base"}]),
        "triggers.0.timezone",
        "Europe/Berlin",
    ),
    "a filter over what is not there yet": (
        line(transform("a"), triggers=[{"kind": "event", "type": "t", "filter": "trigger.data.x"}]),
        "triggers.0.filter",
        "there is no trigger here",
    ),
    "two triggers of one id": (
        line(transform("a"), triggers=[{"kind": "webhook", "id": "in"}, {"kind": "event", "type": "t", "id": "in"}]),
        "triggers.1.id",
        "an id of its own",
    ),
    "a bad approval rule": (
        line(transform("a"), settings={"approval_rules": [{"when": "item > 1"}]}),
        "settings.approval_rules.0.when",
        "there is no item here",
    ),
    "a form that is no schema": (
        line({"id": "f", "kind": "input", "title": "t", "form": {"type": "objekt"}}),
        "nodes.f.form",
        "no JSON Schema",
    ),
    "a schema from somewhere else": (
        line(transform("a"), settings={"input_schema": {"$ref": "https://example.com/schema.json"}}),
        "settings.input_schema",
        "own parts only",
    ),
    "a handler's node with a step's id": (
        line(transform("a"), on_failure=line(transform("a"))),
        "on_failure.nodes.a",
        "choose another id",
    ),
    "an inner node with an outer id": (
        line(transform("a"), loop("l", line(transform("a")))),
        "nodes.l.body.nodes.a",
        "choose another id",
    ),
    "a reserved name": (line(transform("a", x={"$blob": "x"})), "nodes.a.output.x.$blob", "reserved"),
    "a character that cannot be stored": (line(transform("a", x="a\0b")), "nodes.a.output.x", "NUL"),
    "too many levels": (
        nested(6),
        "nodes." + "body.nodes.".join(f"level{n}." for n in range(5, -1, -1)) + "body",
        "deep",
    ),
}


@pytest.mark.parametrize(("definition", "path", "message"), WRONG.values(), ids=WRONG.keys())
def test_refused(definition: JsonObject, path: str, message: str) -> None:
    found = mistakes(definition)
    assert message in found.get(path, f"nothing; only {found}")
    assert len(found) == 1, "one mistake is told once"


RIGHT: dict[str, JsonObject] = {
    "five levels": nested(5),
    "a chain": line(SEARCH, transform("b", x="{{ steps.search.output.hits[0].title | upper }}")),
    "anything from what is not known": line(
        {"id": "h", "kind": "http", "url": "https://x.test"},
        transform("b", x="{{ steps.h.output.body.a[0].b }} {{ steps.h.output.headers.etag }}"),
    ),
    "the error of a step that goes on": line(
        SEARCH | {"on_error": "continue"}, transform("b", x="{{ steps.search.output.error.detail ?? '' }}")
    ),
    "variables that may not be set": line(transform("a", x="{{ vars.later ?? 0 }}")),
    "variables set anywhere": line(
        transform("a", x="{{ vars.inner }}"),
        loop("l", line({"id": "s", "kind": "set", "variables": {"inner": 1}})),
    ),
    "looking for what may be missing": line(
        SEARCH,
        {"id": "i", "kind": "if", "condition": "has(steps.search.output.hitz) || has(vars.x)"},
        transform("b"),
    ),
    "a decision whose output is read": line(
        {"id": "i", "kind": "if", "condition": "true"}, output={"x": "{{ steps.i.output.result }}"}
    ),
    "an approval that reads as the result": line(
        {"id": "ask", "kind": "approval", "title": "t"}, output={"yes": "{{ steps.ask.output.approved }}"}
    ),
    "a way that may stay unconnected": line({"id": "ask", "kind": "approval", "title": "t"}, transform("b")),
    "seconds as a text": line({"id": "d", "kind": "delay", "seconds": "{{ trigger.data.wait }}"}),
    "one of two branches may be read by what comes after both": {
        "nodes": [
            {"id": "i", "kind": "if", "condition": "true"},
            transform("a", x=1),
            transform("b", x=2),
            transform("c", x="{{ steps.a.output.x ?? steps.b.output.x }}"),
        ],
        "edges": [edge("i", "a", "true"), edge("i", "b", "false"), edge("a", "c"), edge("b", "c")],
    },
    "names that comprehensions give": line(
        {"id": "i", "kind": "if", "condition": "trigger.data.list.exists(item, item.last == 1)"}, transform("b")
    ),
    "what a while had before": line(
        {
            "id": "w",
            "kind": "while",
            "condition": "index == 0 || last.more",
            "body": line(transform("x", n="{{ last.n ?? 0 }}"), output={"more": True}),
        }
    ),
    "the steps of loops side by side": line(loop("l", line(transform("x"))), loop("m", line(transform("x")))),
    "event and run filters": line(
        {"id": "w", "kind": "wait_event", "type": "t", "filter": "event.data.id == trigger.data.id"},
        triggers=[
            {"kind": "event", "type": "t", "filter": "event.data.x > 1"},
            {"kind": "cron", "expression": "*/5 * * * *", "timezone": "Europe/Berlin"},
        ],
    ),
    "a schema that refers to itself": line(
        {
            "id": "f",
            "kind": "input",
            "title": "t",
            "form": {"$defs": {"n": {"type": "number"}}, "properties": {"n": {"$ref": "#/$defs/n"}}},
        }
    ),
}


@pytest.mark.parametrize("definition", RIGHT.values(), ids=RIGHT.keys())
def test_accepted(definition: JsonObject) -> None:
    assert mistakes(definition) == {}


def test_all_mistakes_at_once() -> None:
    found = mistakes(
        line(
            transform("a", x="{{ item }}", y="{{ nope }}"),
            loop("l", line(transform("b", x="{{ steps.zzz.output }}")), "{{ env.X }}"),
            output={"z": "{{ vars.x }}"},
            triggers=[{"kind": "cron", "expression": "every day"}],
        )
    )
    assert set(found) == {
        "nodes.a.output.x",
        "nodes.a.output.y",
        "nodes.l.items",
        "nodes.l.body.nodes.b.output.x",
        "output.z",
        "triggers.0.expression",
    }


def test_several_circles_are_all_told() -> None:
    nodes: list[JsonValue] = [transform(name) for name in ("a", "b", "c", "d", "e")]
    edges: list[JsonValue] = [edge("a", "b"), edge("b", "a"), edge("c", "d"), edge("d", "c"), edge("d", "e")]
    assert set(mistakes({"nodes": nodes, "edges": edges})) == {"edges.1", "edges.3"}


def test_too_many_nodes_in_all() -> None:
    full: JsonObject = {"nodes": [transform(f"n{number}") for number in range(500)]}
    assert "split the workflow" in mistakes(line(*(loop(f"l{number}", full) for number in range(4))))["nodes"]
