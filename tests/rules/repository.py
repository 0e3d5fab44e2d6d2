"""Where things are, for the rules: the repository's own files and nothing that was installed or generated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias, cast

import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("gateway", "workflow", "agent-crew", "integration", "knowledge")

Yaml: TypeAlias = "str | int | float | bool | list[Yaml] | dict[str, Yaml] | None"
Mapping: TypeAlias = "dict[str, Yaml]"


def python_files(*, tests: bool = True) -> Iterator[Path]:
    for folder in ("services", "tools", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if "node_modules" in parts or (not tests and "tests" in parts):
                continue
            yield path


def documents(path: Path) -> list[Mapping]:
    """Every YAML document of a file."""
    return [cast("Mapping", document) for document in yaml.safe_load_all(path.read_text()) if document]


def at(document: Yaml, path: str) -> Yaml:
    """The value at a dotted path, None where the way ends."""
    for name in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def strings(value: Yaml) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def mappings(value: Yaml) -> list[Mapping]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
