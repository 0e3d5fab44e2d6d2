"""The rendered overlays, as the tests of k8s/ look at them."""

from __future__ import annotations

import json
from typing import cast

import pytest

from tests.contract.kustomize import OVERLAYS, overlay
from tests.rules.repository import Mapping, at, mappings

RENDERED = {name: overlay(name) for name in OVERLAYS}
# What several overlays have in common is looked at once.
_DISTINCT = {json.dumps(one, sort_keys=True): (name, one) for name, found in RENDERED.items() for one in found}
OBJECTS = [pytest.param(one, id=f"{name}/{one['kind']}/{at(one, 'metadata.name')}") for name, one in _DISTINCT.values()]
PODS = [param for param in OBJECTS if cast("Mapping", param.values[0])["kind"] in ("Deployment", "Job")]
PRODUCTION = "production"


def objects(kind: str, overlay_name: str = PRODUCTION) -> dict[str, Mapping]:
    return {str(at(one, "metadata.name")): one for one in RENDERED[overlay_name] if one["kind"] == kind}


def containers(workload: Mapping) -> list[Mapping]:
    """All that run in it: those that come first as well."""
    found = mappings(at(workload, "spec.template.spec.initContainers"))
    found += mappings(at(workload, "spec.template.spec.containers"))
    assert found
    return found


def the_app(app: str, overlay_name: str = PRODUCTION) -> Mapping:
    (container,) = containers(objects("Deployment", overlay_name)[app])
    return container


def variables(container: Mapping) -> dict[str, Mapping]:
    return {str(variable["name"]): variable for variable in mappings(container.get("env"))}


def told_to_the_sidecar(app: str) -> Mapping:
    return cast("Mapping", at(objects("Deployment")[app], "spec.template.metadata.annotations"))
