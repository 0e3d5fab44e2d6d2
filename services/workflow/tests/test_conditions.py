"""CEL conditions: values, mistakes that are found when saving, and bounds."""

from __future__ import annotations

import time

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_workflow.expressions import Condition, ExpressionError, Scope

SCOPE = Scope(
    roots={"trigger": {"data": {"n": 3, "url": "https://x", "items": [1, 2, 3], "none": None}}, "item": 7},
    outputs={"search": {"text": "found", "hits": [{"score": 0.5}]}, "a-b": {"ok": True}},
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("has(trigger.data.url)", True),
        ("has(trigger.data.other)", False),
        ("trigger.data.n > 2 && trigger.data.url.startsWith('https')", True),
        ('steps["a-b"].output.ok', True),
        ("size(steps.search.output.hits) == 1 && steps.search.output.hits[0].score >= 0.5", True),
        ("trigger.data.items.exists(x, x == 2)", True),
        ("trigger.data.items.all(x, x > 1) || trigger.data.items.exists_one(y, y == 3)", True),
        ("has(steps.skipped)", False),
        ("trigger.data.none == null", True),
        ("item > 6", True),
        ("has(steps.search) && !has(steps.other)", True),
        ("steps.exists(s, s == 'search')", True),
        ('size(steps) == 2 && steps["a-b"].output == {"ok": true}', True),
        ("trigger.data.n == 3 && size(trigger.data) == 4 && size(trigger) == 1", True),
        ("steps.search.output.text == 'found' && size(steps.search.output) == 2", True),
        ("has(item.x) || item == 7", True),
    ],
)
def test_evaluates(source: str, expected: bool) -> None:
    assert Condition.compile(source).evaluate(SCOPE) is expected


@pytest.mark.parametrize(
    "source",
    [
        "1 +",
        "trigger.data.n >",
        "secrets.KEY == 'x'",
        "__import__('os')",
        "trigger.data.shout()",
        "a" * 2_000,
        "(" * 900 + ")" * 900,
        "[" * 1_900,
        "trigger.a.all(x, trigger.b.all(y, x == y))",
        "trigger.a.exists(x, size(trigger.b.filter(y, x == y)) > 0)",
        "trigger.a.all // why\n (x, trigger.b.all(y, true))",
        "trigger.a.all" + " " * 300 + "(x, trigger.b.all(y, true))",
        "trigger.a.map(x, trigger.b + x) == []",
        "trigger.a.all(x, x.matches('a'))",
        "trigger.a.all(x, size(bytes(x)) > 1)",
        "trigger.a.matches(trigger.b)",
        "trigger.a.matches('((a{100}){100}){100}')",
        "size(" + "+".join(["trigger.a"] * 30) + ") > 0",
        "cel.bind(x, 1, x == 1)",
        "optional.of(1).hasValue()",
        '// "\ntrigger.a.all(x, trigger.b.all(y, x == y)) // "',
        'r"\\" == "" || trigger.a.all(x, trigger.b.all(y, true)) || "" == r"\\"',
    ],
)
def test_refuses_when_saving(source: str) -> None:
    with pytest.raises(ExpressionError):
        Condition.compile(source)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("trigger.data.other == 1", "there is no 'other'"),
        ("trigger.data.n", "must be true or false"),
        ("'' == ''.__class__", "has no value"),
        ("1 / 0 == 1", "has no value"),
    ],
)
def test_has_no_value(source: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        Condition.compile(source).evaluate(SCOPE)


@pytest.mark.parametrize(
    "source", ["true || 84 * 1.19 > 1.0", "has(trigger.data.other) && 'a'.contains(1)", "true || 1"]
)
def test_what_is_never_reached_still_runs_where_it_was_saved_before(source: str) -> None:
    condition = Condition.compile(source)
    assert condition.evaluate(SCOPE) is not source.startswith("has")
    with pytest.raises(ExpressionError):
        condition.refuse_in_vain()


NESTED: dict[str, str] = {
    "parentheses": "(" * 50 + "item == 7" + ")" * 50,
    "lists": "size(" + "[" * 50 + "item" + "]" * 50 + ") == 1",
    "calls": "bool(" * 50 + "item == 7" + ")" * 50,
    "choices": "item == 1 ? false : " * 50 + "true",
    "a long row": " || ".join(["item == 7"] * 150),
}


@pytest.mark.parametrize("source", NESTED.values(), ids=NESTED)
def test_what_is_too_deep_to_be_judged_is_refused_and_runs_where_it_was_saved_before(source: str) -> None:
    condition = Condition.compile(source)
    assert condition.evaluate(SCOPE) is True
    with pytest.raises(ExpressionError, match=r"cannot be judged: .*(?:40 deep|120 parts)"):
        condition.refuse_in_vain()


def test_what_is_too_deep_and_has_no_value_says_so_when_it_runs() -> None:
    with pytest.raises(ExpressionError, match="do not go together"):
        Condition.compile("(" * 50 + "item + 'a' == 'a'" + ")" * 50).evaluate(SCOPE)


@pytest.mark.parametrize("source", ["trigger.data.n", "trigger.data.other > 1", "trigger.data.items.all(x, x)"])
def test_says_where_it_stands(source: str) -> None:
    with pytest.raises(ExpressionError, match=r"^nodes\.check\.condition: "):
        Condition.compile(source, place="nodes.check.condition").evaluate(SCOPE)


@pytest.mark.parametrize("data", ["\ud800", {"\udfff": 1}, ["\ud800"]])
@pytest.mark.parametrize(
    "source", ["trigger.data.x == 1", "trigger.data.x.all(y, y == 1)", "trigger.data.x.matches('a')"]
)
def test_half_a_character_in_data_is_no_value(source: str, data: JsonValue) -> None:
    with pytest.raises(ExpressionError, match="cannot be read"):
        Condition.compile(source).evaluate(Scope({"trigger": {"data": {"x": data}}}, {}))


@pytest.mark.parametrize(
    ("source", "what"), [("'\0' == ''", "NUL at position 2"), ("1 == '\ud800'", "half of a character")]
)
def test_characters_that_are_none_are_refused(source: str, what: str) -> None:
    with pytest.raises(ExpressionError, match=what):
        Condition.compile(source)


def test_names_the_steps_it_reads() -> None:
    condition = Condition.compile("""steps.search.output.text == "steps.no" && steps['a-b'].output.ok""")
    assert set(condition.step_names()) == {"search", "a-b"}


def test_walking_over_much_data_is_refused() -> None:
    condition = Condition.compile("trigger.data.items.all(x, size(trigger.data.items) > 0)")
    big = Scope({"trigger": {"data": {"items": list(range(100_000))}}}, {})
    started = time.process_time()
    with pytest.raises(ExpressionError, match="128 KiB"):
        condition.evaluate(big)
    assert time.process_time() - started < 60, "walking over it takes hours"
