"""The reference page of all settings, made from the settings classes themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from crewmesh_kit.settings import ServiceSettings, variable_name

_HEAD = """# Settings

Every setting is an environment variable. For each there is a twin with `_FILE` at the end that names a file with the
value, as container platforms mount secrets; naming both is refused. Lists are comma separated. A value outside its
bounds, or a misspelt variable of a group, keeps the service from starting and is named in its log.
"""
_TABLE_HEAD = "| variable | value | default | meaning |\n|---|---|---|---|\n"


def settings_page(services: Mapping[str, type[ServiceSettings]]) -> str:
    """``services`` names each service's settings class; what all share is told once."""
    common = ServiceSettings.model_fields
    parts = [_HEAD, "## Every service\n", _table(ServiceSettings, common)]
    for app_id, settings in services.items():
        own = {name: field for name, field in settings.model_fields.items() if name not in common}
        parts += [
            f"## {app_id}\n",
            _table(settings, own) if own else "Nothing beyond what every service can be told.\n",
        ]
    return "\n".join(parts)


def _table(settings: type[ServiceSettings], fields: Mapping[str, FieldInfo]) -> str:
    rows = [row for name, field in fields.items() for row in _rows(settings, name, field)]
    return _TABLE_HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _rows(settings: type[ServiceSettings], name: str, field: FieldInfo) -> Iterator[tuple[str, ...]]:
    group = field.annotation
    if isinstance(group, type) and issubclass(group, BaseModel):
        schemas = _properties(group)
        for inner, inner_field in group.model_fields.items():
            yield _row((name, inner), inner_field, schemas[inner])
    else:
        yield _row((name,), field, _properties(settings)[name])


def _properties(model: type[BaseModel]) -> dict[str, JsonObject]:
    return cast("dict[str, JsonObject]", model.model_json_schema()["properties"])


def _row(place: tuple[str, ...], field: FieldInfo, schema: JsonObject) -> tuple[str, ...]:
    return f"`{variable_name(place)}`", _value(schema), _default(field), (field.description or "").replace("|", "\\|")


def _value(schema: JsonObject) -> str:
    choices = cast("list[JsonObject]", schema.get("anyOf", [schema]))
    (first, *_) = [choice for choice in choices if choice.get("type") != "null"]
    if "enum" in first:
        return " or ".join(f"`{choice}`" for choice in cast("list[str]", first["enum"]))
    if first.get("format") == "password":
        return "secret"
    kind = {"array": "list", "boolean": "`true` or `false`", "string": "text"}.get(
        str(first["type"]), str(first["type"])
    )
    return " ".join(filter(None, (kind, _bounds(first))))


def _bounds(schema: JsonObject) -> str:
    least, above, most = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    told = [
        f"from {_number(least)}" if least is not None else "",
        f"above {_number(above)}" if above is not None else "",
        f"to {_number(most)}" if most is not None else "",
    ]
    return " ".join(filter(None, told))


def _number(value: JsonValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default(field: FieldInfo) -> str:
    default = cast(object, field.default)
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, tuple):
        default = ",".join(str(part) for part in cast("tuple[object, ...]", default))
    if isinstance(default, bool):
        default = str(default).lower()
    return f"`{default}`" if default not in (None, "") else ""
