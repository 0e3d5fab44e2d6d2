"""Every route says who may use it, or the service does not start: whatever its path, a mount or a websocket too.

What daprd alone calls says so by its path: nothing gets there without the token that the app shares with its sidecar.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
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


def declared_access(route: RouteContext) -> Iterator[Access]:
    dependant = getattr(route, "dependant", None)
    if isinstance(dependant, Dependant):
        yield from _declared_by(dependant)


def _declared_by(dependant: Dependant) -> Iterator[Access]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Access):
            yield dependency.call
        yield from _declared_by(dependency)
