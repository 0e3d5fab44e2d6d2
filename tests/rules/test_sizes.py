"""Sizes are budgeted: unenforced limits drift, and decay shows in the maximum.

A waiver is a comment ``# size: <reason>`` on the first line of the file or on the line of the ``def``.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.rules.repository import ROOT, python_files

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 50
WAIVER = "# size: "


def too_long_functions(path: Path) -> list[str]:
    source = path.read_text()
    lines = source.splitlines()
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MOST_LINES_OF_A_FUNCTION and WAIVER not in lines[node.lineno - 1]:
                found.append(f"{node.name} ({length} lines)")
    return found


@pytest.mark.parametrize("path", list(python_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = path.read_text().splitlines()
    if not (lines and WAIVER in lines[0]):
        assert len(lines) <= MOST_LINES_OF_A_FILE, f"{len(lines)} lines: a room with too many tenants, split it by role"
    assert too_long_functions(path) == []


def test_the_rule_sees_a_long_function(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("def f():\n" + "    x = 1\n" * 60)
    assert too_long_functions(path) == ["f (61 lines)"]
