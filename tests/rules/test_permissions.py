"""Permissions are named in one place: what routes ask for is in the catalogue, and what is in it is asked for."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import cast

import pytest
from crewmesh_contracts.invocations import INVOCATIONS
from crewmesh_contracts.permissions import BY_NAME
from crewmesh_kit.http.access import ask_access_first, declared_access
from crewmesh_kit.identity import Access, Requires
from crewmesh_workflow.engine.effects import RUN_PERMISSIONS
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from tests.rules.repository import ROOT, SERVICES

# Asked for within a handler, where it depends on what is asked whether it is needed.
WITHIN = {"approvals:decide-any": "approvals/rules.py", "approvals:links": "approvals/links.py"}


def made(app: str) -> FastAPI:
    module = importlib.import_module(f"crewmesh_{app.replace('-', '_')}.main")
    return cast("Callable[[], FastAPI]", module.create_app)()


@cache
def asked_for(app: str) -> frozenset[tuple[str, str]]:
    """(path, permission) of every route."""
    return frozenset(
        (route.path or "", access.permission)
        for route in iter_route_contexts(made(app).routes)
        for access in declared_access(route)
        if isinstance(access, Requires)
    )


def internal_permissions() -> set[str]:
    """What services ask of each other; nobody holds these but runs, and the gateway for itself."""
    return {call.permission for call in INVOCATIONS} - BY_NAME.keys()


@pytest.mark.parametrize("app", SERVICES)
def test_what_routes_ask_for_is_in_the_catalogue(app: str) -> None:
    unknown = {(path, name) for path, name in asked_for(app) if name not in BY_NAME}
    assert {name for path, name in unknown if not path.startswith("/internal/")} == set()
    assert {name for _, name in unknown} <= internal_permissions()


@pytest.mark.parametrize("app", SERVICES)
def test_access_is_asked_for_before_all_else(app: str) -> None:
    service = made(app)
    ask_access_first(service)
    routes = [route for route in iter_route_contexts(service.routes) if next(declared_access(route), None)]
    assert len(routes) > 5
    late = {route.path for route in routes if not isinstance(dependant_of(route).dependencies[0].call, Access)}
    assert late == set()


def test_what_is_in_the_catalogue_is_asked_for() -> None:
    asked = {name for app in SERVICES for path, name in asked_for(app) if path.startswith("/v1/")}
    assert asked | WITHIN.keys() == BY_NAME.keys()
    assert not asked & WITHIN.keys()
    sources = ROOT / "services" / "workflow" / "src" / "crewmesh_workflow"
    for name, file in WITHIN.items():
        assert name in strings_of((sources / file).read_text()), file


def test_a_run_holds_what_it_calls_for_and_nothing_else() -> None:
    assert {call.permission for call in INVOCATIONS if "workflow" in call.callers} == RUN_PERMISSIONS


def test_no_permission_is_made_up_in_a_handler() -> None:
    """``identity.allows("…")`` with a name that nobody can hold would refuse everybody but owners."""
    made_up = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "services").glob("*/src/**/*.py"))
        for name in allowed_names(path.read_text())
        if name not in BY_NAME
    }
    assert made_up == set()


def dependant_of(route: RouteContext) -> Dependant:
    return cast("Dependant", getattr(route, "dependant", None))


def strings_of(source: str) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def allowed_names(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "allows":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
