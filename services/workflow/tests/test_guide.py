"""The guide of the language: its examples compile, its table of expressions is true, its lists are complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.base import NODE_KINDS
from crewmesh_contracts.workflow.triggers.base import TRIGGER_KINDS
from crewmesh_kit.documents.yaml_text import read_yaml
from crewmesh_workflow.expressions import Scope, compile_template
from crewmesh_workflow.expressions.filters import FILTERS
from crewmesh_workflow.expressions.scope import ROOTS
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "workflows.md").read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[str]:
    return (match[1] for match in re.finditer(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first line this is, without the marks of code."""
    table = GUIDE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def code(cell: str) -> str:
    return cell.removeprefix("`").removesuffix("`").replace("\\|", "|")


@pytest.mark.parametrize("block", [*blocks("yaml")], ids=lambda block: str(block).splitlines()[0])
def test_every_example_compiles(block: str) -> None:
    example = cast(JsonObject, read_yaml(block))
    definition = Definition.model_validate({"name": "Example", **example})
    assert compile_program(definition, all_kinds()).main.nodes


@pytest.mark.parametrize(("template", "gives"), [row for row in rows("expression") if len(row) == 2])
def test_every_expression_gives_what_is_said(template: str, gives: str) -> None:
    trigger = cast(JsonValue, json.loads(next(blocks("json"))))
    assert compile_template(code(template)).value(Scope({"trigger": trigger}, {})) == json.loads(code(gives))


def test_every_kind_is_told_with_its_output_and_ports() -> None:
    told = {code(cells[0]): cells for cells in rows("kind")}
    assert sorted(told) == sorted(NODE_KINDS.all())
    for kind, node in NODE_KINDS.all().items():
        if (members := set(node.Output.model_fields)) and kind != "agent":
            assert members == set(re.findall(r"`([a-z]+)`", told[kind][2])), kind


def test_every_kind_has_an_example() -> None:
    examples = "\n".join(blocks("yaml"))
    shown = set(re.findall(r"\bkind: ([a-z_.]+)", examples))
    assert set(TRIGGER_KINDS.all()) <= shown
    assert set(NODE_KINDS.all()) - shown <= {"action", "agent", "crew", "input", "respond", "set", "switch"}


def test_every_filter_and_root_is_named() -> None:
    named = set(re.findall(r"`([a-z0-9_]+)`", GUIDE))
    assert set(FILTERS) <= named
    assert set(ROOTS) - {"steps"} <= named
