"""The guide to the audit log names every action there is: docs/guides/audit.md, "What it is called"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from .repository import ROOT, python_files

_ACTION = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*")
_ROW = re.compile(r"^\| `([a-z-]+)` \| (`[^|]+) \|$", re.MULTILINE)
_TELLS = re.compile(r"import audit\b|import personal\b|\bdefinition_changed\b")
# "body.attachments" is the place of a mistake in a request.
_PLACE = re.compile(r"(body|query|path)\.")
_IN_CODE = re.compile(r"`([a-z-]+)`")


def _told_by_the_guide() -> set[str]:
    text = (ROOT / "docs/guides/audit.md").read_text()
    section = text.split("## What it is called\n")[1].split("\n\nSecrets")[0]
    return {f"{resource}.{verb}" for resource, verbs in _ROW.findall(section) for verb in _IN_CODE.findall(verbs)}


def _recorded() -> Iterator[str]:
    for file in python_files(tests=False):
        text = file.read_text()
        if _TELLS.search(text):
            constants = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
            yield from (each for each in constants if isinstance(each, str) and _is_action(each))


def _is_action(text: str) -> bool:
    return _ACTION.fullmatch(text) is not None and _PLACE.match(text) is None


def test_the_guide_names_every_action() -> None:
    recorded = set(_recorded())
    assert len(recorded) > 50, "what is looked for has moved"
    assert recorded - _told_by_the_guide() == set()
