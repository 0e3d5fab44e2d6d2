"""The language by example: the file that every implementation of it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict, cast

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_workflow.expressions import Condition, ExpressionError, Scope, compile_template
from crewmesh_workflow.expressions.values import same_key

FILE = Path(__file__).resolve().parents[2] / "shared" / "contracts" / "expressions" / "vectors.json"


class Case(TypedDict, total=False):
    template: JsonValue
    condition: str
    scope: str
    value: JsonValue
    error: str
    at: str


class Vectors(TypedDict):
    about: str
    scopes: dict[str, JsonObject]
    templates: list[Case]
    conditions: list[Case]


VECTORS = cast("Vectors", json.loads(FILE.read_text()))


def scope_of(case: Case) -> Scope:
    roots = dict(VECTORS["scopes"][case.get("scope", "")])
    steps = cast("dict[str, JsonObject]", roots.pop("steps"))
    return Scope(roots, {step: held["output"] for step, held in steps.items()})


def named(case: Case) -> str:
    return json.dumps(case.get("template", case.get("condition")), ensure_ascii=False)[:80]


def template_of(case: Case) -> JsonValue:
    return case.get("template")


def condition_of(case: Case) -> str:
    return case.get("condition", "")


def with_value(cases: list[Case]) -> list[Case]:
    return [case for case in cases if "error" not in case]


def with_error(cases: list[Case], at: str) -> list[Case]:
    return [case for case in cases if "error" in case and case.get("at") == at]


def test_there_are_enough_and_all_are_used() -> None:
    for cases in (VECTORS["templates"], VECTORS["conditions"]):
        used = with_value(cases) + with_error(cases, "save") + with_error(cases, "run")
        assert len(used) == len(cases)
    assert len(VECTORS["templates"]) >= 150


@pytest.mark.parametrize("case", with_value(VECTORS["templates"]), ids=named)
def test_template_gives(case: Case) -> None:
    value = compile_template(template_of(case)).value(scope_of(case))
    assert same_key(value) == same_key(case.get("value"))


@pytest.mark.parametrize("case", with_error(VECTORS["templates"], "save"), ids=named)
def test_template_is_refused(case: Case) -> None:
    with pytest.raises(ExpressionError) as raised:
        compile_template(template_of(case))
    assert case.get("error", "?") in str(raised.value)


@pytest.mark.parametrize("case", with_error(VECTORS["templates"], "run"), ids=named)
def test_template_has_no_value(case: Case) -> None:
    template, scope = compile_template(template_of(case)), scope_of(case)
    with pytest.raises(ExpressionError) as raised:
        template.value(scope)
    assert case.get("error", "?") in str(raised.value)


@pytest.mark.parametrize("case", with_value(VECTORS["conditions"]), ids=named)
def test_condition_gives(case: Case) -> None:
    condition = Condition.compile(condition_of(case))
    condition.refuse_in_vain()
    assert condition.evaluate(scope_of(case)) is case.get("value")


@pytest.mark.parametrize("case", with_error(VECTORS["conditions"], "save"), ids=named)
def test_condition_is_refused(case: Case) -> None:
    with pytest.raises(ExpressionError) as raised:
        Condition.compile(condition_of(case)).refuse_in_vain()
    assert case.get("error", "?") in str(raised.value)


@pytest.mark.parametrize("case", with_error(VECTORS["conditions"], "run"), ids=named)
def test_condition_has_no_value(case: Case) -> None:
    condition, scope = Condition.compile(condition_of(case)), scope_of(case)
    condition.refuse_in_vain()
    with pytest.raises(ExpressionError) as raised:
        condition.evaluate(scope)
    assert case.get("error", "?") in str(raised.value)
