"""Fields that hold several templates by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import Reader


def read_object(read: Reader, path: str, members: Mapping[str, JsonValue]) -> Callable[[Scope], JsonObject]:
    """Every member is a template of its own, so that a mistake is told with the member's name."""
    templates = {name: read.template(f"{path}.{name}", value) for name, value in members.items()}
    return lambda scope: {name: template.value(scope) for name, template in templates.items()}


def read_texts(read: Reader, path: str, members: Mapping[str, str]) -> Callable[[Scope], dict[str, str]]:
    templates = {name: read.template(f"{path}.{name}", text) for name, text in members.items()}
    return lambda scope: {name: template.text(scope) for name, template in templates.items()}


def read_text(read: Reader, path: str, text: str | None) -> Callable[[Scope], str | None]:
    """A text that need not be there."""
    if text is None:
        return lambda _: None
    return read.template(path, text).text
