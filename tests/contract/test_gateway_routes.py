"""The gateway's routing table and what the services really offer are one and the same."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_gateway.openapi.merge import merged
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS, SERVICES
from crewmesh_kit.http.openapi import public_openapi
from fastapi import FastAPI


@cache
def described(app: str) -> JsonObject:
    module = importlib.import_module(f"crewmesh_{app.replace('-', '_')}.main")
    create_app = cast("Callable[[], FastAPI]", module.create_app)
    return public_openapi(create_app())


def paths(app: str) -> list[str]:
    return list(cast("dict[str, object]", described(app)["paths"]))


def resources(app: str) -> set[str]:
    return {path.split("/")[2] for path in paths(app)}


@pytest.mark.parametrize("app", SERVICES)
def test_the_table_routes_exactly_what_a_service_offers(app: str) -> None:
    assert resources(app) == {resource for resource, owner in OWNERS.items() if owner == app}


def test_the_gateway_keeps_its_own_for_itself() -> None:
    assert resources("gateway") == set(OWN_RESOURCES)
    assert not set(OWN_RESOURCES) & set(OWNERS)


def test_no_operation_is_lost_in_the_merged_description() -> None:
    apps = ("gateway", *SERVICES)
    document = merged({app: described(app) for app in apps}, {})
    assert set(cast("dict[str, object]", document["paths"])) == {path for app in apps for path in paths(app)}
