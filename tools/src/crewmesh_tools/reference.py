"""Writes what is generated from code: ``python -m crewmesh_tools.reference``.

Settings and problems become pages, the public API one OpenAPI document, topics and events one AsyncAPI document, each
shape that crosses a process a JSON Schema, and Prometheus' rules resources of Kubernetes. With ``--check`` nothing is
written, and a difference is a failure.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import EVENTS_TOPIC, PUBLISHED_EVENTS, CloudEvent
from crewmesh_contracts.invocations import INVOCATIONS
from crewmesh_contracts.workflow import Definition
from crewmesh_gateway.openapi.merge import merged
from crewmesh_gateway.openapi.service import base_document
from crewmesh_kit.http.openapi import public_openapi
from crewmesh_kit.problems_reference import problems_page
from crewmesh_kit.settings import ServiceSettings
from crewmesh_kit.settings_reference import settings_page
from fastapi import FastAPI
from pydantic import BaseModel

from crewmesh_tools.deploy import prometheus_rules

ROOT = Path(__file__).parents[3]
REFERENCE = Path("docs/reference")
SCHEMAS = Path("services/shared/contracts/schemas")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
GENERATED_FOLDERS = (REFERENCE, SCHEMAS)
SERVICES = {
    "gateway": "crewmesh_gateway",
    "workflow": "crewmesh_workflow",
    "agent-crew": "crewmesh_agent_crew",
    "integration": "crewmesh_integration",
    "knowledge": "crewmesh_knowledge",
}


def generated() -> dict[Path, str]:
    """Every generated file's path and text."""
    import_errors()
    return {
        REFERENCE / "settings.md": settings_page({app: settings_of(package) for app, package in SERVICES.items()}),
        REFERENCE / "problems.md": problems_page(),
        REFERENCE / "openapi.json": as_json(openapi()),
        REFERENCE / "asyncapi.json": as_json(asyncapi()),
        **{SCHEMAS / name: as_json(schema) for name, schema in schemas().items()},
        prometheus_rules.TARGET: prometheus_rules.prometheus_rules(ROOT),
    }


def import_errors() -> None:
    """The catalogue knows the types that are imported, so all modules named ``errors`` are."""
    for package in SERVICES.values():
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if module.name.endswith(".errors"):
                importlib.import_module(module.name)


def settings_of(package: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"{package}.settings")
    (found,) = (
        value
        for value in cast("dict[str, object]", vars(module)).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == module.__name__
    )
    return found


class _ServiceModule(Protocol):
    create_app: Callable[[ServiceSettings], FastAPI]


def openapi() -> JsonObject:
    """The document the gateway serves, made without running anything."""
    described = {app: public_openapi(app_of(package)) for app, package in SERVICES.items()}
    return merged(described, base_document(version=version("crewmesh-gateway")))


def app_of(package: str) -> FastAPI:
    main = cast(_ServiceModule, importlib.import_module(f"{package}.main"))
    return main.create_app(settings_of(package)())


def asyncapi() -> JsonObject:
    """AsyncAPI 3.0: topics are channels, events are messages."""
    topics = {event.topic: "Events of Crewmesh itself." for event in PUBLISHED_EVENTS}
    topics[EVENTS_TOPIC] = "Any CloudEvent; workflows are triggered by its type."
    messages = {event.type(): _message(event.type(), (event.__doc__ or "").strip()) for event in PUBLISHED_EVENTS}
    on_topic = {topic: [event.type() for event in PUBLISHED_EVENTS if event.topic == topic] for topic in topics}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Crewmesh events", "version": "1"},
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            topic: {
                "address": topic,
                "description": topics[topic],
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in on_topic[topic] or ["cloud-event"]
                },
            }
            for topic in sorted(topics)
        },
        "components": {
            "messages": {
                **messages,
                "cloud-event": _message("cloud-event", "A CloudEvent 1.0 in structured JSON form."),
            },
        },
    }


def _message(name: str, summary: str) -> JsonObject:
    """The payload is the whole CloudEvent; what its ``data`` holds is described by the event's own schema."""
    envelope: JsonObject = {"$ref": "../../services/shared/contracts/schemas/cloud-event.json"}
    if name == "cloud-event":
        return {"summary": summary, "payload": envelope}
    data: JsonObject = {"$ref": f"../../services/shared/contracts/schemas/events/{name}.json"}
    narrowed: JsonObject = {"properties": {"type": {"const": name}, "data": data}}
    return {"summary": summary, "payload": {"allOf": [envelope, narrowed]}}


def schemas() -> dict[str, JsonObject]:
    """A JSON Schema for each shape that crosses a process."""
    shapes: dict[str, type[BaseModel]] = {"definition.json": Definition, "cloud-event.json": CloudEvent}
    shapes |= {f"events/{event.type()}.json": event for event in PUBLISHED_EVENTS}
    for invocation in INVOCATIONS:
        name = f"invocations/{invocation.app}.{invocation.path.removeprefix('/internal/').replace('/', '.')}"
        shapes |= {f"{name}.request.json": invocation.request, f"{name}.result.json": invocation.result}
    return {name: {"$schema": _DIALECT, **shape.model_json_schema(by_alias=True)} for name, shape in shapes.items()}


def as_json(document: JsonObject) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def differences(root: Path, files: dict[Path, str]) -> list[str]:
    """What is missing, what reads otherwise, and what nothing generates any more."""
    told = [
        f"{path}: {'is not what the code says' if (root / path).exists() else 'is missing'}"
        for path, text in files.items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]
    return told + [f"{path}: nothing generates it" for path in _present(root) if path not in files]


def write(root: Path, files: dict[Path, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    for path in _present(root):
        if path not in files:
            (root / path).unlink()


def _present(root: Path) -> list[Path]:
    return sorted(
        path.relative_to(root) for folder in GENERATED_FOLDERS for path in (root / folder).rglob("*") if path.is_file()
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m crewmesh_tools.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file differs")
    only_check = cast(bool, parser.parse_args().check)
    files = generated()
    if not only_check:
        write(ROOT, files)
        return 0
    found = differences(ROOT, files)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("Run `make gen` and commit what it writes.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
