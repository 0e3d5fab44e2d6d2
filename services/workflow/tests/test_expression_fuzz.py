"""Whatever is written as a template or a condition: a value or an ExpressionError, soon, and the same every time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path as FilePath

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_workflow.expressions import Condition, ExpressionError, Scope, compile_template
from crewmesh_workflow.expressions.cel_tree import MACROS
from crewmesh_workflow.expressions.filters import FILTERS
from crewmesh_workflow.expressions.grammar import Expression
from crewmesh_workflow.expressions.signatures import FUNCTIONS, OPERATORS
from crewmesh_workflow.expressions.templates import parts_of
from crewmesh_workflow.expressions.values import same_key
from hypothesis import given
from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON: st.SearchStrategy[JsonValue] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
NAMES = st.sampled_from(["data", "a", "b-c", "__class__", "items", "0"])
SEGMENTS = st.one_of(
    NAMES.filter(lambda name: name != "0").map(lambda name: f".{name}"),
    st.integers(0, 3).map(lambda index: f"[{index}]"),
    st.text(max_size=5).filter(lambda key: "\0" not in key).map(lambda key: f"[{json.dumps(key)}]"),
)


def path(root: str, rest: list[str]) -> str:
    return root + "".join(rest)


def use(name: str, arguments: list[str]) -> str:
    return f"| {name}({', '.join(arguments)})"


def otherwise(value: str) -> str:
    return f"?? {value}"


def chain(first: str, operations: list[str]) -> str:
    return " ".join((first, *operations))


ROOTS = st.sampled_from(["trigger", "vars", "env", "item", "steps.a", "steps.b-c.output"])
PATHS = st.builds(path, ROOTS, st.lists(SEGMENTS, max_size=3))
LITERALS = st.one_of(
    st.text(max_size=8).filter(lambda text: "\0" not in text).map(json.dumps),
    st.integers(-1000, 1000).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(["true", "false", "null", "[]", "{}", "'it\\'s'", '"%Y"', "'days'"]),
)
VALUES = PATHS | LITERALS
USES = st.builds(use, st.sampled_from(sorted(FILTERS)), st.lists(VALUES, max_size=2))
EXPRESSIONS = st.builds(chain, VALUES, st.lists(USES | VALUES.map(otherwise), max_size=3))
PIECES = st.sampled_from(
    ["{{", "}}", "{", "}", " ", "|", "??", "(", ")", ",", "'", '"', "\\", "[", "]", ".", "trigger"]
)
NOISE = st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join)


def outcome(do: Callable[[], JsonValue]) -> str:
    """What comes of it, as text; nothing but ExpressionError may be raised."""
    try:
        return f"value {same_key(do())}"
    except ExpressionError as error:
        return f"error {error}"


@given(NOISE | st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    scope = Scope({"trigger": {}}, {})
    first = outcome(lambda: compile_template(text).value(scope))
    assert first == outcome(lambda: compile_template(text).value(scope))
    if "{{" not in text:
        assert first == f"value {same_key(text)}"


@given(EXPRESSIONS, JSON, JSON)
def test_any_expression_over_any_data(expression: str, data: JsonValue, output: JsonValue) -> None:
    scope = Scope({"trigger": {"data": data}, "vars": {"a": output}, "item": data}, {"a": output, "b-c": data})
    text = f"{{{{ {expression} }}}}"
    first = outcome(lambda: compile_template(text).value(scope))
    assert first == outcome(lambda: compile_template(text).value(scope))


@given(st.sampled_from(sorted(FILTERS)), JSON, st.lists(JSON, max_size=3))
def test_any_filter_takes_anything(name: str, value: JsonValue, arguments: list[JsonValue]) -> None:
    used = FILTERS[name]
    if used.least <= len(arguments) <= used.most:
        outcome(lambda: used(value, tuple(arguments)))


@given(EXPRESSIONS)
def test_what_is_printed_reads_the_same(expression: str) -> None:
    try:
        parts = [*parts_of(f"{{{{ {expression} }}}}")]
    except ExpressionError:
        return
    printed = str(parts[0])
    again = [*parts_of(f"{{{{ {printed} }}}}")]
    assert isinstance(parts[0], Expression)
    assert str(again[0]) == printed


@given(st.text(max_size=60) | st.text(st.sampled_from("trige.()[]\"'+-&|=! 019stepsalx,{}"), max_size=60))
def test_any_condition_is_read_or_refused(source: str) -> None:
    scope = Scope({"trigger": {"data": {"n": 1}}}, {})
    outcome(lambda: Condition.compile(source).evaluate(scope))


WILD = st.text(st.characters(exclude_categories=()), max_size=6)
WILD_JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WILD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WILD | st.sampled_from("ab"), inner, max_size=4),
)
ATOMS = st.sampled_from(
    [
        "trigger.data",
        "trigger.data.a",
        "trigger.data[0]",
        "item",
        "steps.a.output",
        "x",
        "null",
        "true",
        "1",
        "1u",
        "1.5",
        "'é'",
        "'a'",
        "b'a'",
        "[1, 'a']",
        "{'a': 1}",
        "timestamp(0)",
        "duration('1s')",
        "'UTC'",
    ]
)
SHAPES = st.sampled_from(
    [f"({{}} {sign} {{}})" for sign in OPERATORS if sign != "!"]
    + [f"{name}({{}})" for name in FUNCTIONS]
    + [f"({{}}).{name}({{}})" for name in FUNCTIONS]
    + [f"({{}}).{name}(x, {{}})" for name in MACROS]
    + ["!{}", "-{}", "({} ? {} : {})", "has({}.a)", "({}).a", "({})[{}]", "[{}, {}]", "{{{}: {}}}", "size /**/ ({})"]
)


def filled(shape: str, parts: list[str]) -> str:
    return shape.format(*parts)


CONDITIONS = st.recursive(
    ATOMS, lambda inner: st.builds(filled, SHAPES, st.lists(inner, min_size=3, max_size=3)), max_leaves=12
)
# What only the library, or the language that it is written in, would say.
FOREIGN = re.compile(r"overload|::|[a-z]Error|\bdict\b|\bfloat\b|NoneType|Value of type|Syntax|Check function")

UNREACHED = re.compile(r"&&|\|\||\?|\(x,")


@given(CONDITIONS, WILD_JSON)
def test_any_condition_over_any_data(source: str, data: JsonValue) -> None:
    """What cannot be saved has no value, unless it is not reached; and nobody is told the library's words."""
    scope = Scope({"trigger": {"data": data}, "item": data}, {"a": data})
    value = outcome(lambda: Condition.compile(source).evaluate(scope))
    saved = outcome(lambda: Condition.compile(source).refuse_in_vain())
    assert FOREIGN.search(value) is None
    assert FOREIGN.search(saved) is None
    if saved.startswith("error") and UNREACHED.search(source) is None:
        assert value.startswith("error")


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_any_characters_as_a_condition(source: str) -> None:
    outcome(lambda: Condition.compile(source).evaluate(Scope({"trigger": {}}, {})))


LONG = {
    "not": "!" * 1_999 + "1",
    "minus": "-" * 1_999 + "1",
    "times": "1" + "*1" * 999,
    "fields": "item" + ".a" * 900,
    "positions": "item" + "[0]" * 600,
    "or": "||".join(["item"] * 330),
    "calls": "size(" * 90 + "1" + ")" * 90,
    "comments": "size //\n" * 200 + "(1)",
    "list": "[" + "size(1)," * 240 + "1]",
}


@pytest.mark.parametrize("source", LONG.values(), ids=LONG.keys())
def test_looking_at_a_condition_takes_no_long_time(source: str) -> None:
    started = time.process_time()
    outcome(lambda: Condition.compile(source).evaluate(Scope({"item": 1}, {})))
    outcome(lambda: Condition.compile(source).refuse_in_vain())
    assert time.process_time() - started < 20, "going over it for each of its parts takes minutes"


GROWING: dict[str, Callable[[int], str]] = {
    "open braces": lambda size: "{" * size,
    "open expressions": lambda size: "{{ " * size,
    "expressions": lambda size: "{{ trigger.data }}" * size,
    "positions": lambda size: "{{ trigger" + "[0]" * size,
    "one long name": lambda size: "{{ trigger." + "a" * size,
    "one long text": lambda size: "{{ '" + "\\\\" * size + "' }}",
    "a text without end": lambda size: "{{ '" + "a" * size,
    "blanks": lambda size: "{{" + " " * size,
    "filters": lambda size: "{{ trigger" + " | trim" * size,
    "arguments": lambda size: "{{ trigger | replace(" + "'a'," * size,
    "fallbacks": lambda size: "{{ trigger" + " ?? item" * size,
    "closing braces": lambda size: "}}" * size,
}


@pytest.mark.parametrize("grow", GROWING.values(), ids=GROWING.keys())
def test_reading_takes_linear_time(grow: Callable[[int], str]) -> None:
    """128 times the text takes about 128 times as long; if it were not linear it would be 16,000 times, or more."""
    assert _seconds(grow(64_000)) < 20 * 128 * max(_seconds(grow(500)), 0.0002)


def _seconds(text: str) -> float:
    best = 60.0
    for _ in range(3):
        started = time.process_time()
        outcome(lambda: len([*parts_of(text)]))
        best = min(best, time.process_time() - started)
    return best


def test_lists_that_are_nested_deeply_are_refused() -> None:
    value: JsonValue = "{{ trigger }}"
    for _ in range(5_000):
        value = [value]
    with pytest.raises(ExpressionError, match="flatter"):
        compile_template(value)


def test_work_is_bounded() -> None:
    big: list[JsonValue] = [*range(100_000)]
    scope = Scope({"trigger": {"big": big, "text": "ab" * 150_000}}, {})
    for expression, why in (
        ("trigger.text | replace('a', '" + "x" * 1_000 + "')", "more than 4 MiB"),
        ("trigger.text | split('a')", "more than 100000 parts"),
        ("trigger.big | join('" + "x" * 1_000 + "')", "more than 4 MiB"),
    ):
        with pytest.raises(ExpressionError, match=why):
            compile_template(f"{{{{ {expression} }}}}").value(scope)
    with pytest.raises(ExpressionError, match="go over more than"):
        compile_template("{{ trigger.big | contains(-1) }}" * 100).value(scope)
    assert compile_template("{{ trigger.big | length }}" * 100).text(scope) == "100000" * 100


def test_the_vectors_use_every_filter() -> None:
    folder = FilePath(__file__).resolve().parents[2] / "shared" / "contracts" / "expressions"
    text = (folder / "vectors.json").read_text()
    assert [name for name in FILTERS if f"| {name}" not in text] == []
