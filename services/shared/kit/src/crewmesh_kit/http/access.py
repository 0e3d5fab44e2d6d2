"""Every route says who may use it, or the service does not start: whatever its path, a mount or a websocket too.

That is asked before anything else of a request is looked at: who is not known hears 401, whatever else is wrong.

What daprd alone calls says so by its path: nothing gets there without the token that the app shares with its sidecar.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from crewmesh_kit.identity import Access

_OF_THE_SIDECAR = ("/dapr/", "/subscriptions/")


class UndeclaredAccess(Exception):  # noqa: N818  it says what is wrong with a route, as problems do
    """A route says neither ``requires(...)`` nor ``public()``."""


def check_access_is_declared(app: FastAPI) -> None:
    undeclared = [
        f"{'/'.join(sorted(route.methods or ()))} {route.path or '/'}".strip()
        for route in iter_route_contexts(app.routes)
        if not (route.path or "").startswith(_OF_THE_SIDECAR) and next(declared_access(route), None) is None
    ]
    if undeclared:
        raise UndeclaredAccess(
            f"these routes do not say who may use them: {'; '.join(undeclared)}. "
            'Add requires("<permission>") to the handler, or public() to the route\'s dependencies.'
        )


def ask_access_first(app: FastAPI) -> None:
    """Of all that a route depends on, in whatever order its signature and its routers name it."""
    declared: dict[int, list[Access]] = {}
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        if isinstance(dependant, Dependant):
            # In place: the framework has made the handler with this very list.
            dependant.dependencies.sort(key=lambda each: not isinstance(each.call, Access))
            declared[id(route.original_route)] = [*_declared_by(dependant)]
    app.state.access = declared


async def check_access(request: Request) -> None:
    """For what fails before dependencies are asked: the framework reads the body first."""
    declared = cast("dict[int, list[Access]]", request.app.state.access)
    for access in declared.get(id(request.scope.get("route")), ()):
        await access(request)


def declared_access(route: RouteContext) -> Iterator[Access]:
    dependant = getattr(route, "dependant", None)
    if isinstance(dependant, Dependant):
        yield from _declared_by(dependant)


def _declared_by(dependant: Dependant) -> Iterator[Access]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Access):
            yield dependency.call
        yield from _declared_by(dependency)
