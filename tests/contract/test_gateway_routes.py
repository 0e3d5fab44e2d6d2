"""The gateway's routing table and what the services really offer are one and the same."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_gateway.openapi.merge import merged
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS, SERVICES, VERBS
from crewmesh_kit.http.openapi import public_openapi
from fastapi import FastAPI

from tests.rules.test_dapr_files import allowed_operations


@cache
def described(app: str) -> JsonObject:
    module = importlib.import_module(f"crewmesh_{app.replace('-', '_')}.main")
    create_app = cast("Callable[[], FastAPI]", module.create_app)
    return public_openapi(create_app())


def paths(app: str) -> list[str]:
    return list(cast("dict[str, object]", described(app)["paths"]))


def resources(app: str) -> set[str]:
    return {path.split("/")[2] for path in paths(app)}


def verbs(app: str) -> dict[str, set[str]]:
    """What the service takes, at each resource or below it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, operations in cast("dict[str, dict[str, object]]", described(app)["paths"]).items():
        found[path.split("/")[2]] |= {method.upper() for method in operations}
    return found


@pytest.mark.parametrize("app", SERVICES)
def test_the_table_routes_exactly_what_a_service_offers(app: str) -> None:
    assert resources(app) == {resource for resource, owner in OWNERS.items() if owner == app}


@pytest.mark.parametrize("app", SERVICES)
def test_the_table_and_the_access_list_name_the_verbs_that_a_service_takes(app: str) -> None:
    taken = verbs(app)
    assert {resource: set(VERBS[resource]) for resource, owner in OWNERS.items() if owner == app} == taken
    admitted = {
        name.removeprefix("/v1/"): set(allowed)
        for (caller, name), allowed in allowed_operations(app).items()
        if caller == "gateway" and not name.startswith("/internal/")
    }
    assert admitted == taken


def test_an_access_list_names_paths_one_by_one() -> None:
    """daprd takes a name for all that is below it, whatever longer names say: so none may begin with another."""
    for app in SERVICES:
        for caller in {caller for caller, _ in allowed_operations(app)}:
            names = [name for of, name in allowed_operations(app) if of == caller]
            assert not [name for name in names if "*" in name or name.endswith("/")]
            assert not [(one, two) for one in names for two in names if two.startswith(f"{one}/")]


def test_the_gateway_keeps_its_own_for_itself() -> None:
    assert resources("gateway") == set(OWN_RESOURCES)
    assert not set(OWN_RESOURCES) & set(OWNERS)


def test_no_operation_is_lost_in_the_merged_description() -> None:
    apps = ("gateway", *SERVICES)
    document = merged({app: described(app) for app in apps}, {})
    assert set(cast("dict[str, object]", document["paths"])) == {path for app in apps for path in paths(app)}
