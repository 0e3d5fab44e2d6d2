"""Many OpenAPI documents become one.

Each service describes the paths it owns. Schemas that are the same in two services (Problem, for one) are kept once;
where two services mean different things by one name, the later one's gets its service's name in front, and so does
everything of that service that leads to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS

_REFERENCE = "#/components/schemas/"
_REFERENCED = re.compile(re.escape(f'"{_REFERENCE}') + r'([^"]+)"')

GATEWAY = "gateway"


def merged(documents: Mapping[str, JsonObject], base: JsonObject) -> JsonObject:
    """``base`` with the paths and schemas of each service's document."""
    paths: JsonObject = {}
    schemas: JsonObject = {}
    for app, document in documents.items():
        theirs = _renamed(document, _clashes(_schemas(document), schemas), prefix=_pascal(app))
        schemas |= _schemas(theirs)
        for path, item in _mapping(theirs.get("paths")).items():
            if _owner(path) == app:
                paths[path] = _described(_mapping(item), app)
    components: JsonObject = {**_mapping(base.get("components")), "schemas": dict(sorted(schemas.items()))}
    return {**base, "paths": dict(sorted(paths.items())), "components": components}


def _owner(path: str) -> str | None:
    """A service speaks for its own resources only."""
    segments = path.split("/")
    if len(segments) < 3 or segments[1] != "v1":
        return None
    return GATEWAY if segments[2] in OWN_RESOURCES else OWNERS.get(segments[2])


def _described(item: JsonObject, app: str) -> JsonObject:
    described: JsonObject = {}
    for method, value in item.items():
        if isinstance(value, dict):
            operation = dict(value)
            operation.setdefault("tags", [app])
            if "operationId" in operation:
                operation["operationId"] = f"{app.replace('-', '_')}_{operation['operationId']}"
            described[method] = operation
        else:
            described[method] = value
    return described


def _clashes(theirs: JsonObject, present: JsonObject) -> set[str]:
    """Names that mean something else already, and names of theirs that lead to such a one."""
    clashing = {name for name, schema in theirs.items() if name in present and present[name] != schema}
    links = {name: set(_REFERENCED.findall(json.dumps(schema))) for name, schema in theirs.items()}
    while more := {name for name, to in links.items() if name in present and to & clashing} - clashing:
        clashing |= more
    return clashing


def _renamed(document: JsonObject, names: set[str], *, prefix: str) -> JsonObject:
    if not names:
        return document

    def rename(text: str) -> str:
        name = text.removeprefix(_REFERENCE)
        return f"{_REFERENCE}{prefix}{name}" if text != name and name in names else text

    result = _mapping(_walk(document, rename))
    schemas: JsonObject = {
        (prefix + name if name in names else name): schema for name, schema in _schemas(result).items()
    }
    components: JsonObject = {**_mapping(result.get("components")), "schemas": schemas}
    return {**result, "components": components}


def _walk(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    if isinstance(value, dict):
        return {name: _walk(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_walk(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def _schemas(document: JsonObject) -> JsonObject:
    return _mapping(_mapping(document.get("components")).get("schemas"))


def _mapping(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _pascal(app: str) -> str:
    return "".join(part.capitalize() for part in app.split("-"))
