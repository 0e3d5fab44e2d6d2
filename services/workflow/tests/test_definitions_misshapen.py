"""A definition of the wrong shape: all that is wrong beside its shape is told as well, and nothing that is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.documents.yaml_text import read_yaml
from crewmesh_workflow.definitions.checking import check, shape_mistakes
from crewmesh_workflow.program.errors import Mistake
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.workflow.tests.test_guide import blocks
from services.workflow.tests.test_program_mistakes import RIGHT, SEARCH, WRONG, edge, line, loop, transform

# Words of the library that nobody who writes JSON knows.
INTERNAL = ("dictionary", "tuple", "instance of", "literal[", "function-", "pydantic", "extract tag", "constrained")


WRONG_VALUES: tuple[JsonValue, ...] = (5, "X y", [7])


def named(definition: JsonObject) -> JsonObject:
    return {"name": "w", **deepcopy(definition)}


VALID = [*(named(cast(JsonObject, read_yaml(block))) for block in blocks("yaml")), *map(named, RIGHT.values())]


def told(document: JsonObject) -> dict[str, str]:
    return {mistake.path: mistake.message for mistake in check(document).mistakes}


def of_shape(document: JsonObject) -> tuple[Mistake, ...]:
    try:
        Definition.model_validate(document)
    except ValidationError as error:
        return shape_mistakes(error, document)
    return ()


def beside(document: JsonObject) -> list[Mistake]:
    """What is told of a misshapen document beside its shape."""
    shape = of_shape(document)
    return [mistake for mistake in check(document).mistakes if shape and mistake not in shape]


def places(value: JsonValue, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, member in members:
        yield from places(member, (*place, step))


def breaks(document: JsonObject) -> Iterator[JsonObject]:
    """The document with one thing wrong, each in turn: something of another type, unknown, missing, or misspelt."""
    for place in [*places(document)][1:]:
        *around, last = place
        for new in WRONG_VALUES:
            broken = deepcopy(document)
            inside(broken, around)[last] = new
            yield broken
        if isinstance(last, str):
            for renamed in ((), (f"{last}x",)):
                broken = deepcopy(document)
                holder = inside(broken, around)
                old = holder.pop(last)
                holder.update(dict.fromkeys(renamed, old))
                yield broken
        broken = deepcopy(document)
        found = inside(broken, around)[last]
        if isinstance(found, dict):
            found["strange"] = 1
            yield broken


def inside(value: JsonValue, place: object) -> dict[str | int, JsonValue]:
    for step in cast("list[str | int]", place):
        value = cast("dict[str | int, JsonValue]", value)[step]
    return cast("dict[str | int, JsonValue]", value)


@pytest.mark.parametrize("document", VALID, ids=lambda document: str(list(document)))
def test_one_break_of_shape_makes_no_other_mistake(document: JsonObject) -> None:
    for broken in breaks(document):
        assert beside(broken) == [], json.dumps(broken)


SHOP = "https://shop.example"
ELSEWHERE: dict[str, JsonObject] = {
    "a name that is a number": {"name": 5},
    "a description that is a list": {"description": []},
    "a priority that is a word": {"settings": {"priority": "high"}},
    "a trigger of no kind": {"triggers": [{"kind": "carrier-pigeon"}]},
    "a node of no kind": {"nodes": [{"id": "odd", "kind": "htpp", "url": "https://shop.example"}]},
    "a node with a misspelt field": {"nodes": [{"id": "odd", "kind": "http", "urll": "u"}]},
    "an edge of a wrong type": {"nodes": [{"id": "odd", "kind": "http", "url": SHOP}], "edges": [{"from": "odd"}]},
}
# Mistakes that may only follow from what could not be read.
FOLLOWS: dict[str, tuple[str, ...]] = {
    "a priority that is a word": ("a decision about nothing",),
    "a node of no kind": ("a decision about nothing", "no such variable"),
    "a node with a misspelt field": ("a decision about nothing",),
    "an edge of a wrong type": (
        "a decision about nothing",
        "never reached",
        "a join that waits for too many",
        "a step that is not before",
    ),
}


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_mistake_is_told_beside_a_break_of_shape_elsewhere(wrong: str, elsewhere: str) -> None:
    definition, path, message = WRONG[wrong]
    document = named(definition)
    for name, value in ELSEWHERE[elsewhere].items():
        there = document.get(name)
        document[name] = [*there, *value] if isinstance(there, list) and isinstance(value, list) else value
    found = [(each.path, message in each.message) for each in beside(document)]
    replaced = path.partition(".")[0] in ELSEWHERE[elsewhere].keys() - {"nodes", "edges", "triggers"}
    follows = wrong in FOLLOWS.get(elsewhere, ())
    assert of_shape(document)
    assert found == ([] if replaced or follows else [(path, True)])


def test_a_node_tells_all_of_its_mistakes() -> None:
    http: JsonObject = {"id": "h", "kind": "http", "urll": "u", "headers": {"a": 5, "b": "{{ nope }}"}}
    undo: JsonObject = {"id": "u", "kind": "http", "url": "{{ steps.h.output.bodi }}", "tries": 3}
    verifiable: JsonObject = {"id": "v", "kind": "http", "url": "{{ item }}", "effect": "verifiable"}
    cases: list[JsonValue] = [{"port": "a", "condition": "1 +"}, {"port": "b"}, 7]
    document = line(
        {**http, "compensate": {"do": undo}},
        verifiable,
        {"id": "s", "kind": "switch", "cases": cases},
        triggers=[{"kind": "cron", "expression": "0 0 31 2 *", "timezone": 5}, {"kind": "event", "filter": "item"}],
        env={"X": 5, "bad name": "x"},
        output={"x": "{{ env.X }} {{ steps.zzz.output }}"},
    )
    assert set(told(named(document))) == {
        "nodes.h.url",
        "nodes.h.urll",
        "nodes.h.headers.a",
        "nodes.h.headers.b",
        "nodes.h.compensate.do.tries",
        "nodes.h.compensate.do.url",
        "nodes.v",
        "nodes.v.url",
        "nodes.s.cases.0.condition",
        "nodes.s.cases.1.condition",
        "nodes.s.cases.2",
        "triggers.0.expression",
        "triggers.0.timezone",
        "triggers.1.type",
        "triggers.1.filter",
        "env.X",
        "env.bad name",
        "output.x",
    }


def test_what_is_inside_of_bodies_and_of_what_is_done_on_failure() -> None:
    body: JsonObject = {
        "nodes": [transform("a", x="{{ nope }}"), {"id": "b", "kind": "what"}],
        "edges": [edge("a", "b"), edge("b", "zzz"), {"from": "b"}],
        "output": {"x": "{{ steps.b.output.any.thing }}"},
    }
    document = line(
        {**loop("l", body), "concurency": 3},
        SEARCH,
        output={"x": "{{ steps.l.output.itemz }} {{ vars.any }}"},
        on_failure={"nodes": [transform("c", x="{{ item }}"), 7], "edges": [edge("c", "who-knows")]},
    )
    assert set(told(named(document))) == {
        "nodes.l.concurency",
        "nodes.l.body.nodes.a.output.x",
        "nodes.l.body.nodes.b",
        "nodes.l.body.edges.1",
        "nodes.l.body.edges.2.to",
        "output.x",
        "on_failure.nodes.c.output.x",
        "on_failure.nodes.1",
    }


def test_the_shape_comes_first() -> None:
    document = named(line(transform("a", x="{{ nope }}"), colour="red"))
    assert [mistake.path for mistake in check(document).mistakes] == ["colour", "nodes.a.output.x"]


SAID: dict[str, tuple[JsonObject, dict[str, str]]] = {
    "types": (
        {"description": 5, "settings": 7, "edges": {}, "env": [], "on_failure": "x", "nodes": [7]},
        {
            "description": "it should be a text",
            "settings": "it should be an object",
            "edges": "it should be a list",
            "env": "it should be an object",
            "on_failure": "it should be an object",
            "nodes.0": "it should be an object",
        },
    ),
    "unions": (
        line(
            {"id": "f", "kind": "for_each", "items": 5, "body": line(transform("a"))},
            {"id": "d", "kind": "delay", "seconds": []},
            {"id": "w", "kind": "workflow", "workflow": "No Slug"},
        ),
        {
            "nodes.f.items": "it should be a text or a list",
            "nodes.d.seconds": "it should be a text or a number",
            "nodes.w.workflow": "it should be the id of a workflow: wf_ and 32 of the characters 0-9 and a-f or a name "
            "that begins with a small letter and has small letters and digits, with single - or _ between them",
        },
    ),
    "limits and choices": (
        line(
            transform("a"),
            {"id": "l", "kind": "llm", "prompt": "p", "task": "sing", "max_tokens": 0, "reuse": "perhaps", "model": ""},
            settings={"priority": 10, "retention_days": 1.5, "timeout_seconds": 0},
            name="n" * 201,
        ),
        {
            "name": "it should have at most 200 characters",
            "nodes.l.task": "it should be 'chat', 'summarize', 'classify' or 'extract'",
            "nodes.l.max_tokens": "it should be at least 1",
            "nodes.l.reuse": "it should be true or false",
            "nodes.l.model": "it should have at least 1 character",
            "settings.priority": "it should be at most 9",
            "settings.retention_days": "it should be a whole number",
            "settings.timeout_seconds": "it should be more than 0",
        },
    ),
    "names": (
        {**line(transform("Not So")), "env": {"bad name": "x"}, "slug": "Not So"},
        {
            "nodes.Not So.id": "it should be a name that begins with a small letter and has small letters and digits, "
            "with single - or _ between them",
            "slug": "it should be a name that begins with a small letter and has small letters and digits, with single "
            "- or _ between them",
            "env.bad name": "its name should be a name of letters, digits and _ that does not begin with a digit",
        },
    ),
}


@pytest.mark.parametrize(("definition", "said"), SAID.values(), ids=SAID.keys())
def test_shapes_are_told_in_words_of_json(definition: JsonObject, said: dict[str, str]) -> None:
    assert told(named(definition)) == said


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just("{{ nope }}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BROKEN = st.tuples(
    st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 10_000), JSON, st.booleans()), min_size=1, max_size=4)
)


@settings(max_examples=200)
@given(BROKEN)
def test_whatever_is_broken_is_told_in_plain_words(
    broken: tuple[JsonObject, list[tuple[int, JsonValue, bool]]],
) -> None:
    document, changes = broken
    document = deepcopy(document)
    for number, value, leaves in changes:
        *around, last = (found := [*places(document)][1:] or [("x",)])[number % len(found)]
        if leaves and isinstance(last, str):
            inside(document, around).pop(last, None)
        else:
            inside(document, around)[last] = value
    assert check(document) == check(document), "in the same order every time"
    for mistake in of_shape(document):
        assert not any(word in mistake.message.lower() for word in INTERNAL), mistake
        assert not any(word in mistake.path for word in INTERNAL), mistake


@given(st.dictionaries(st.sampled_from([*Definition.model_fields, "x"]), JSON, max_size=6))
def test_anything_can_be_checked(document: JsonObject) -> None:
    assert check(document).mistakes
