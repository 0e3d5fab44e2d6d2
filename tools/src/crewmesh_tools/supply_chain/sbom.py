"""CycloneDX documents made of the lock files alone: the same on every machine and at any time (`make sbom`).

Licences of Python packages stand in their metadata, so they are named as far as the packages are installed here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from crewmesh_tools.supply_chain.locks import Component, File

SPEC = "1.6"
# Go sums a module's files in a way of its own, for which CycloneDX has no name.
_GO_SUM = "h1"

Json: TypeAlias = "str | int | list[Json] | dict[str, Json]"


def document(components: Sequence[Component], *, version: str, licences: Mapping[str, str]) -> dict[str, Json]:
    refs = {component.name: component.purl for component in components}
    ordered = sorted(components, key=lambda component: component.purl)
    content: dict[str, Json] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "crewmesh", "version": version}},
        "components": [_component(component, licences) for component in ordered],
        "dependencies": [
            {"ref": component.purl, "dependsOn": [refs[name] for name in sorted(component.needs) if name in refs]}
            for component in ordered
            if component.needs
        ],
    }
    # From the content, so that the same content is the same document.
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {**content, "serialNumber": f"urn:uuid:{identity}"}


def write(path: Path, content: Mapping[str, Json]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _component(component: Component, licences: Mapping[str, str]) -> Json:
    shown: dict[str, Json] = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
    }
    if expression := component.licence or licences.get(component.name, ""):
        shown["licenses"] = [{"expression": expression}]
    files = [_file(file) for file in component.files if file.algorithm != _GO_SUM]
    if files:
        shown["externalReferences"] = list[Json](files)
    sums: list[Json] = [
        {"name": "go:sum", "value": file.digest} for file in component.files if file.algorithm == _GO_SUM
    ]
    if sums:
        shown["properties"] = sums
    return shown


def _file(file: File) -> Json:
    return {
        "type": "distribution",
        "url": file.url,
        "hashes": [{"alg": file.algorithm, "content": file.digest}],
    }
