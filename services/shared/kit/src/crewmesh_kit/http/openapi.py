"""The OpenAPI document of a service's public part, true to how it really answers.

FastAPI describes its own 422 body; ours are problem documents, so every operation gets those. Each operation also tells
the permission it needs (``x-permission``) and which problems it may answer. The gateway merges the documents of all
services into one.
"""

from __future__ import annotations

import json
import re
from typing import cast

from crewmesh_contracts.base import JsonObject
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts

from crewmesh_kit.errors import PROBLEM_MEDIA_TYPE
from crewmesh_kit.http.access import declared_access
from crewmesh_kit.identity import Public, Requires

PUBLIC_PREFIX = "/v1"
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')

_PROBLEM_SCHEMA: JsonObject = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details. The catalogue is in docs/reference/problems.md.",
    "required": ["type", "title", "status", "detail", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["https://crewmesh.dev/problems/not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, and what to do about it."},
        "instance": {"type": "string"},
        "trace_id": {"type": "string"},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_PROBLEMS = {
    "400": "The request cannot be understood: a parameter, a header, or a body that is not JSON.",
    "401": "Nobody known is asking: no credential, or one that is unknown, expired or revoked.",
    "403": "The caller is known and may not do this; permission says what is missing.",
    "404": "There is no such thing, or it belongs to another organization.",
    "413": "The body is too large.",
    "415": "The body is not of a kind that is read here.",
    "422": "The body is read, and something in it is not as it must be; errors lists what.",
    "429": "Too much at once; Retry-After says when to come again.",
    "default": "A problem; type says which.",
}


def public_openapi(app: FastAPI) -> JsonObject:
    """What outsiders may call: the paths under /v1 and the schemas they use."""
    routes = [
        route
        for route in iter_route_contexts(app.routes)
        if (route.path or "").startswith(PUBLIC_PREFIX) and getattr(route, "include_in_schema", False)
    ]
    document = cast(
        JsonObject,
        get_openapi(title=app.title, version=app.version, routes=routes, separate_input_output_schemas=False),
    )
    paths = cast("dict[str, dict[str, JsonObject]]", document.setdefault("paths", {}))
    for route in routes:
        for method in route.methods or ():
            _describe(paths[route.path_format or ""][method.lower()], route)
    schemas = cast("dict[str, JsonObject]", cast(JsonObject, document.get("components", {})).get("schemas", {}))
    used = _used_schemas(paths, {**schemas, "Problem": _PROBLEM_SCHEMA})
    document["security"] = [{"bearer": []}]
    document["components"] = {
        "schemas": dict(sorted(used.items())),
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }
    return document


def _describe(operation: JsonObject, route: RouteContext) -> None:
    responses = cast(JsonObject, operation.setdefault("responses", {}))
    if "HTTPValidationError" in json.dumps(responses.get("422", "")):
        del responses["422"]
    declared = list(declared_access(route))
    guarded = not all(isinstance(access, Public) for access in declared)
    for status in _problem_statuses(operation, guarded=guarded):
        responses.setdefault(status, _problem_response(_PROBLEMS[status]))
    permissions = [access.permission for access in declared if isinstance(access, Requires)]
    if permissions:
        needed = f"Needs the permission `{'`, `'.join(permissions)}`."
        operation["description"] = "\n\n".join(filter(None, (str(operation.get("description", "")), needed)))
        operation["x-permission"] = permissions[0]
    if not guarded:
        operation["security"] = []


def _problem_statuses(operation: JsonObject, *, guarded: bool) -> list[str]:
    statuses = ["400"]
    if guarded:
        statuses += ["401", "403"]
    parameters = cast("list[JsonObject]", operation.get("parameters", []))
    if any(parameter.get("in") == "path" for parameter in parameters):
        statuses.append("404")
    if "requestBody" in operation:
        statuses += ["413", "415", "422"]
    return [*statuses, "429", "default"]


def _problem_response(description: str) -> JsonObject:
    schema: JsonObject = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}}}


def _used_schemas(paths: dict[str, dict[str, JsonObject]], schemas: dict[str, JsonObject]) -> dict[str, JsonObject]:
    """The schemas that the paths reach, directly or through others."""
    used: dict[str, JsonObject] = {}
    wanted = set(_REFERENCE.findall(json.dumps(paths)))
    while wanted:
        name = wanted.pop()
        used[name] = schemas[name]
        wanted |= set(_REFERENCE.findall(json.dumps(schemas[name]))) - used.keys()
    return used
