"""The template language: what it gives, what it refuses, and that nothing else can happen."""

from __future__ import annotations

import contextlib
import time

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_workflow.expressions import ExpressionError, Scope, compile_template
from crewmesh_workflow.expressions.budget import MAX_RENDERED_BYTES

SCOPE = Scope(
    roots={
        "trigger": {"data": {"n": 3, "q": "why?", "list": [1, {"a": None}], "deep-er": True, "f": 1.5}, "type": "t"},
        "env": {"URL": "https://x"},
    },
    outputs={"search": {"text": "found", "hits": [{"title": "T"}]}, "answer-desk": {"text": "42"}},
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ trigger.data.q }}", "why?"),
        ("{{trigger.data.n}}", 3),
        ("{{ trigger.data['q'] | upper }}", "WHY?"),
        ("{{ trigger.data.none ?? steps.none.output.x ?? env.URL }}", "https://x"),
        ("{{ '{{' }}{{ '}}' }}", "{{}}"),
        ("{{ trigger.data.list[1].a }}", None),
        ("{{ trigger.data.deep-er }}", True),
        ("{{ trigger.data }}", {"n": 3, "q": "why?", "list": [1, {"a": None}], "deep-er": True, "f": 1.5}),
        ("{{ steps.search.output.hits[0].title }}", "T"),
        ("{{ steps.answer-desk.output.text }}", "42"),
        ("Q: {{ trigger.data.q }} n={{ trigger.data.n }} {{ trigger.data.f }}", "Q: why? n=3 1.5"),
        ("{{ trigger.data.list }}!", '[1,{"a":null}]!'),
        (" {{ trigger.data.n }}", " 3"),
        ("}} { {x} %s $` ${a}", "}} { {x} %s $` ${a}"),
        ({"a": ["{{ trigger.data.n }}", 1], "{{ b }}": "x"}, {"a": [3, 1], "{{ b }}": "x"}),
        (7, 7),
        (None, None),
    ],
)
def test_renders(template: JsonValue, expected: JsonValue) -> None:
    assert compile_template(template).value(SCOPE) == expected


def test_text_of_a_value_that_is_not_text() -> None:
    assert compile_template("{{ trigger.data.n }}").text(SCOPE) == "3"
    assert compile_template("{{ trigger.data.list }}").text(SCOPE) == '[1,{"a":null}]'


@pytest.mark.parametrize(
    "template",
    [
        "{{7*7}}",
        "{{ }}",
        "{{",
        "a {{ trigger.data",
        "{{ ''.__class__.__mro__ }}",
        "{{ triggers.data }}",
        "{{ trigger..data }}",
        "{{ trigger.data. }}",
        "{{ trigger.data() }}",
        "{{ trigger.data[-1] }}",
        "{{ trigger.data[1:2] }}",
        "{{ trigger.data | shout }}",
        "{{ trigger.data | upper() | }}",
        "{{ trigger.data | replace('a') }}",
        "{{ trigger.data ?? }}",
        "{{ 'never closed }}",
        "{{ trigger.data[x] }}",
        "{{ trigger .data }}",
        "{{ trigger.dätä }}",
        "{{ trigger.data`x` }}",
        "{{ constructor.constructor('return 1')() }}",
        "{{ steps }}",
        "{{ steps[0].output }}",
        "{{ trigger" + ".a" * 33 + " }}",
        "{{ trigger." + "a" * 10_000 + " }}",
        "{{{{ trigger.data }}}}",
        "{{ trigger.data.{{ trigger.data.q }} }}",
        "{{ trigger\u202e.data }}",
    ],
)
def test_refuses_what_is_not_the_grammar(template: str) -> None:
    with pytest.raises(ExpressionError):
        compile_template(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ trigger.__class__ }}",
        "{{ trigger.items }}",
        "{{ trigger.data.q.upper }}",
        "{{ trigger.data.q[0] }}",
        "{{ trigger.data.list[9] }}",
        "{{ trigger.data.list.append }}",
        "{{ trigger.data.__proto__ }}",
        "{{ steps.search.__init__ }}",
        "{{ steps.skipped.output }}",
        "{{ steps.__class__ }}",
    ],
)
def test_finds_keys_only(template: str) -> None:
    compiled = compile_template(template)
    with pytest.raises(ExpressionError, match="finds nothing"):
        compiled.value(SCOPE)


def test_values_are_not_templates() -> None:
    scope = Scope({"trigger": {"data": "{{ trigger.secret }} {{7*7}}", "secret": "no"}}, {})
    assert compile_template("> {{ trigger.data }}").value(scope) == "> {{ trigger.secret }} {{7*7}}"


def test_amplification_is_bounded() -> None:
    scope = Scope({"trigger": {"data": "x" * (MAX_RENDERED_BYTES // 2)}}, {})
    compiled = compile_template("{{ trigger.data }}, " * 900)
    with pytest.raises(ExpressionError, match="larger than"):
        compiled.value(scope)
    with pytest.raises(ExpressionError, match="larger than"):
        compile_template({str(n): "{{ trigger }}" for n in range(1000)}).value(scope)


@pytest.mark.parametrize("text", ["{" * 20_000, "{{ " * 6_000, "{{ trigger" + "[0" * 9_000, "}}" * 10_000])
def test_reading_takes_linear_time(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(ExpressionError):
        compile_template(text)
    assert time.process_time() - started < 30, "quadratic time would be minutes"
