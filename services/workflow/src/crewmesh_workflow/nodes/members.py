"""Fields that hold several templates by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from crewmesh_contracts.base import Contract, JsonObject, JsonValue
from pydantic import TypeAdapter, ValidationError

from crewmesh_workflow.expressions import ExpressionError, Scope
from crewmesh_workflow.nodes.base import Reader


def read_object(read: Reader, path: str, members: Mapping[str, JsonValue]) -> Callable[[Scope], JsonObject]:
    """Every member is a template of its own, so that a mistake is told with the member's name."""
    templates = {name: read.template(f"{path}.{name}", value) for name, value in members.items()}
    return lambda scope: {name: template.value(scope) for name, template in templates.items()}


def read_texts(read: Reader, path: str, members: Mapping[str, str]) -> Callable[[Scope], dict[str, str]]:
    templates = {name: read.template(f"{path}.{name}", text) for name, text in members.items()}
    return lambda scope: {name: template.text(scope) for name, template in templates.items()}


def fits(request: type[Contract], name: str) -> Callable[[JsonValue], object]:
    """What the request itself says of this member: raises ExpressionError where it would refuse the value."""
    field = request.model_fields[name]
    member: TypeAdapter[object] = TypeAdapter(Annotated[field.annotation, *field.metadata])

    def judge(value: JsonValue) -> None:
        try:
            member.validate_python(value)
        except ValidationError as error:
            told = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise ExpressionError(f"{told.replace('String should', 'it should')}; correct it") from None

    return judge


def read_text(read: Reader, path: str, text: str | None) -> Callable[[Scope], str | None]:
    """A text that need not be there."""
    if text is None:
        return lambda _: None
    return read.template(path, text).text
