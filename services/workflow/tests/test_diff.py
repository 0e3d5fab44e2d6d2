"""What differs between two definitions, and the forms in which they are compared and written."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.documents.reading import UnreadableDocument
from crewmesh_kit.documents.yaml_text import MOST_VALUES, YamlError, read_yaml, write_yaml
from crewmesh_workflow.definitions.diff import Diff, diff
from crewmesh_workflow.definitions.documents import concise, notation_of_file, read_document, write_document
from crewmesh_workflow.definitions.normal import normal, same, spelled_out
from crewmesh_workflow.seed.subscriptions import answer_a_question
from hypothesis import given
from hypothesis import strategies as st

BASE: JsonObject = {
    "name": "w",
    "nodes": [
        {
            "id": "b",
            "kind": "switch",
            "cases": [{"port": "x", "condition": "true"}, {"port": "y", "condition": "true"}],
        },
        {
            "id": "loop",
            "kind": "for_each",
            "items": "{{ trigger.data }}",
            "body": {"nodes": [{"id": "send", "kind": "http", "url": "u"}], "output": {"a": 1}},
        },
    ],
    "edges": [{"from": "b", "port": "x", "to": "loop"}],
    "triggers": [{"kind": "event", "type": "t"}, {"kind": "webhook", "id": "hook"}],
    "layout": {"b": [1, 2]},
}


def changed(path: str, value: JsonValue) -> JsonObject:
    """BASE with something else at a path, whose numbers are positions."""
    made = deepcopy(BASE)
    *way, last = path.split(".")
    at: JsonValue = made
    for step in way:
        at = inside(at, step)
    if isinstance(at, list):
        at[int(last)] = value
    elif isinstance(at, dict):
        at[last] = value
    return made


def inside(value: JsonValue, step: str) -> JsonValue:
    if isinstance(value, list):
        return value[int(step)]
    assert isinstance(value, dict)
    return value[step]


def paths(told: Diff) -> list[str]:
    """Every path that is told, one after another."""
    fields = [f"{node.path}: {change.path}" for node in told.nodes.changed for change in node.changes]
    triggers = [f"{node.path}: {change.path}" for node in told.triggers.changed for change in node.changes]
    return [*fields, *triggers, *(change.path for change in (*told.settings, *told.other))]


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("name", "v", "name"),
        ("env", {"A": "1"}, "env.A"),
        ("output", {"x": {"y": 1}}, "output.x"),
        ("settings", {"concurrency": {"limit": 2}}, "concurrency"),
        ("settings", {"priority": 6}, "priority"),
        ("nodes.0.name", "Branch", "nodes.b: name"),
        ("nodes.0.cases.1.condition", "false", "nodes.b: cases.1.condition"),
        ("nodes.1.concurrency", 2, "nodes.loop: concurrency"),
        ("nodes.1.body.output.a", 2, "nodes.loop.body.output.a"),
        ("nodes.1.body.nodes.0.url", "v", "nodes.loop.body.nodes.send: url"),
        ("nodes.1.body.nodes.0.retry", {"attempts": 2}, "nodes.loop.body.nodes.send: retry.attempts"),
        ("nodes.1.body.nodes.0.body", {"deep": [1]}, "nodes.loop.body.nodes.send: body"),
        ("triggers.0.type", "u", "triggers.0: type"),
        ("triggers.1.auth", "hmac", "triggers.hook: auth"),
    ],
)
def test_one_field(path: str, value: JsonValue, told: str) -> None:
    found = diff(BASE, changed(path, value))
    assert paths(found) == [told]
    assert not found.same


def test_defaults_are_told_as_values() -> None:
    [node] = diff(BASE, changed("nodes.1.body.nodes.0.retry", {"attempts": 2})).nodes.changed
    assert [(change.before, change.after) for change in node.changes] == [(5, 2)]


def test_what_means_the_same_is_no_difference() -> None:
    other = deepcopy(BASE)
    nodes, edges = other["nodes"], other["edges"]
    assert isinstance(nodes, list)
    assert isinstance(edges, list)
    nodes.reverse()
    other |= {"description": "", "env": {}, "settings": {"mode": "autonomous"}}
    told = diff(BASE, other)
    assert paths(told) == []
    assert (told.nodes.added, told.nodes.removed, told.edges.added, told.layout) == ((), (), (), False)


def test_nodes_edges_and_triggers_come_and_go() -> None:
    other = changed("edges.0.port", "y")
    other["nodes"] = [{"id": "new", "kind": "fail", "message": "no", "name": "Stop"}, inside(BASE["nodes"], "1")]
    other["triggers"] = [{"kind": "webhook", "id": "hook"}]
    other["layout"] = {}
    other["on_failure"] = {"nodes": [{"id": "tell", "kind": "http", "url": "u"}]}
    told = diff(BASE, other)
    assert [(node.path, node.kind, node.name) for node in told.nodes.added] == [
        ("nodes.new", "fail", "Stop"),
        ("on_failure.nodes.tell", "http", None),
    ]
    assert [node.path for node in told.nodes.removed] == ["nodes.b"]
    assert [edge.port for edge in (*told.edges.added, *told.edges.removed)] == ["y", "x"]
    assert (told.triggers.added, told.triggers.removed) == ((), ("0",))
    assert told.layout


def test_an_edge_inside_a_body_says_where() -> None:
    other = deepcopy(BASE)
    body: JsonObject = {
        "nodes": [{"id": "send", "kind": "http", "url": "u"}, {"id": "then", "kind": "http", "url": "u"}],
        "edges": [{"from": "send", "to": "then"}],
        "output": {"a": 1},
    }
    told = diff(BASE, changed("nodes.1.body", body))
    assert [edge.graph for edge in told.edges.added] == ["nodes.loop.body"]
    assert [node.path for node in told.nodes.added] == ["nodes.loop.body.nodes.then"]
    assert diff(other, BASE).same


def test_a_draft_that_is_no_definition_yet() -> None:
    broken = changed("nodes.1.body.nodes.0", {"id": "send", "kind": "http"})
    broken["edges"] = 3
    told = diff(BASE, broken)
    assert paths(told) == ["nodes.loop.body.nodes.send: url"], "what is right is compared as ever"
    assert len(told.edges.removed) == 1


TEXT = st.text(alphabet="aZ09 -_:#\n\t\r'\"\\|>\0\x85\xa0\u2028\ufeffé漢😀", max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "nodes", "kind", "x"]), inner),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["name", "nodes", "edges", "triggers", "settings", "on_failure", "output", "layout", "env", "z"]
)


@given(st.dictionaries(FIELDS, JSON), st.dictionaries(FIELDS, JSON))
def test_whatever_a_draft_holds_it_can_be_compared(one: JsonObject, other: JsonObject) -> None:
    assert diff(one, one).same
    diff(BASE, other)
    assert diff(one, other).same == diff(other, one).same == same(one, other)
    assert normal(normal(one)) == normal(one)


# YAML, and the short form.


@pytest.mark.parametrize("notation", ["json", "yaml"])
def test_what_is_exported_is_read_as_the_same(notation: str) -> None:
    for definition in (answer_a_question(), Definition.model_validate(BASE)):
        written = write_document(definition, "yaml" if notation == "yaml" else "json")
        read = read_document(written, notation_of_file(f"x.{notation}"))
        assert read == concise(definition)
        assert spelled_out(Definition.model_validate(read)) == spelled_out(definition)


def test_exports_are_short_and_in_order() -> None:
    written = concise(Definition.model_validate(BASE))
    assert list(written) == ["schema_version", "name", "triggers", "nodes", "edges", "layout"]
    assert written["triggers"] == [{"kind": "event", "type": "t"}, {"id": "hook", "kind": "webhook"}]
    assert written["edges"] == [{"from": "b", "port": "x", "to": "loop"}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("0123", "0123"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        (".inf", ".inf"),
        ("2024-01-01", "2024-01-01"),
        ("12e3", 12000.0),
        ("-0.5", -0.5),
        ("7", 7),
        ("true", True),
        ("null", None),
        ("~", None),
        ("'7'", "7"),
        ("{on: [no, 1]}", {"on": ["no", 1]}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("a: &x {k: [1]}\nb: *x", {"a": {"k": [1]}, "b": {"k": [1]}}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
    ],
)
def test_yaml_holds_no_surprises(text: str, value: JsonValue) -> None:
    read = read_yaml(text)
    assert read == value
    assert type(read) is type(value)


TENFOLD = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *TENFOLD])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing in it"),
        ("a: 1\na: 2", "line 2, column 1: the key 'a' is there twice"),
        ("a: {b: 1, b: 1}", "there twice"),
        ("a: 1\n---\nb: 1", "second document"),
        ("a: !!python/object/apply:os.system [x]", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("[1]: x", "a key must be a text"),
        ("a: &x [*x]", "*x names nothing"),
        ("a: *gone", "*gone names nothing"),
        (BOMB, "aliases counted in full"),
        ("[" * 5_000, "nested"),
        ("- " * 5_000, "nested"),
        ("x: [1, 2", "expected"),
        ("a\x00b", "control characters"),
        ("a: \ud800", "surrogate"),
        ("- x\n" * (MOST_VALUES + 1), "holds more than"),
    ],
)
def test_yaml_that_is_refused(text: str, why: str) -> None:
    with pytest.raises(YamlError, match=r".") as refused:
        read_yaml(text)
    assert why in str(refused.value)


@given(JSON | st.from_regex(r"[-+0-9.eExo_:~ntyf#|>'\" \n]{0,9}", fullmatch=True))
def test_what_is_written_as_yaml_is_read_as_it_was(value: JsonValue) -> None:
    assert read_yaml(write_yaml(value)) == value


@given(st.text(alphabet="ab:-?[]{},&*!|>'\"%@`#\n \t0", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for notation in ("json", "yaml"):
        with suppress(UnreadableDocument):
            assert isinstance(read_document(text, notation_of_file(f"x.{notation}")), dict)
