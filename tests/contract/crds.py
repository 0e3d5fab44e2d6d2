"""JSON Schemas of kinds that Kubernetes itself does not know, made from the definitions their makers publish.

A cluster drops a field that a definition does not have, in silence; here it is a mistake. The definitions come with Go
modules: Dapr's is the one that the mesh is built from, the others are pinned here with their checksums.

CloudNativePG and the External Secrets operator cannot be had as Go modules; EXTERNAL names their kinds, of which only
the outer shape is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import cast

import jsonschema_rs
import yaml

from tests.contract.go_programs import files_of_required, module_files
from tests.rules.repository import ROOT, Mapping, Yaml, at, mappings

_DAPR = ROOT / "dapr-config" / "runtime"
# Module → version, checksum as in a go.sum, and where in it the definitions are that we use.
_PINNED = {
    "github.com/kedacore/keda/v2": (
        "v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        "config/crd/bases/keda.sh_scaledobjects.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator": (
        "v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml "
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml "
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "sigs.k8s.io/gateway-api": (
        "v1.4.1",
        "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    "github.com/cloudnative-pg/plugin-barman-cloud": (
        "v0.15.0",
        "h1:gNVytrzzYUE08wxLDrjfJqy1FPPSFkMe1OEr4s4pVI0=",
        "config/crd/bases/barmancloud.cnpg.io_objectstores.yaml",
    ),
}
EXTERNAL = frozenset(
    (
        "postgresql.cnpg.io/v1/Cluster",
        "postgresql.cnpg.io/v1/ScheduledBackup",
        "external-secrets.io/v1/SecretStore",
        "external-secrets.io/v1/ExternalSecret",
    )
)


def name_of(one: Mapping) -> str:
    return f"{one['apiVersion']}/{one['kind']}"


def mistakes(one: Mapping) -> list[str]:
    """What its definition says against an object; ``KeyError`` for a kind without a definition."""
    validator = validators()[name_of(one)]
    return [f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in validator.iter_errors(one)]


@cache
def validators() -> dict[str, jsonschema_rs.Draft202012Validator]:
    return {name: jsonschema_rs.Draft202012Validator(schema) for name, schema in _schemas()}


def dapr_files() -> Path:
    return files_of_required("github.com/dapr/dapr", required_by=_DAPR)


def keda_files() -> Path:
    return _files("github.com/kedacore/keda/v2")


@cache
def _files(module: str) -> Path:
    version, checksum, _ = _PINNED[module]
    return module_files(module, version, checksum)


def _schemas() -> Iterator[tuple[str, Mapping]]:
    definitions = sorted((dapr_files() / "charts" / "dapr" / "crds").glob("*.yaml"))
    for module, (_, _, places) in _PINNED.items():
        definitions += [_files(module) / place for place in places.split()]
    for path in definitions:
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield from _of_definition(cast("Mapping", document or {}))


def _of_definition(definition: Mapping) -> Iterator[tuple[str, Mapping]]:
    if definition.get("kind") != "CustomResourceDefinition":
        return
    for version in mappings(at(definition, "spec.versions")):
        name = f"{at(definition, 'spec.group')}/{version['name']}/{at(definition, 'spec.names.kind')}"
        schema = cast("Mapping", strict(at(version, "schema.openAPIV3Schema")))
        # Metadata is Kubernetes' own, and is looked at with all other objects.
        cast("Mapping", schema["properties"])["metadata"] = {"type": "object"}
        yield name, schema


def strict(schema: Yaml) -> Yaml:
    """A definition's schema as a JSON Schema that refuses what it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: Mapping = {key: _strict_part(key, value) for key, value in schema.items() if key != "description"}
    if schema.get("x-kubernetes-int-or-string"):
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable"):
        made["type"] = [str(schema["type"]), "null"]
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not open_ended:
        made["additionalProperties"] = False
    return made


def _strict_part(key: str, value: Yaml) -> Yaml:
    """Names of properties are no keywords; examples, defaults and enumerations are no schemas."""
    if key == "properties" and isinstance(value, dict):
        return {name: strict(each) for name, each in value.items()}
    return (
        value if key in ("default", "enum", "example", "required", "anyOf", "oneOf", "not", "allOf") else strict(value)
    )
