"""What a query may hold: the parameters that the route declares, as a body may hold only the fields that it has.

A parameter that nobody reads would be passed over in silence: a misspelt filter lists everything, a misspelt option
does something else than was asked. Which names each route takes is found out once, at start-up.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Depends
from fastapi.routing import iter_route_contexts
from starlette.requests import HTTPConnection

from crewmesh_kit.errors import InvalidRequest

_PUBLIC = "/v1/"
_MOST_TOLD = 10
_LONGEST_TOLD = 60


class _AnyQuery:
    async def __call__(self) -> None:
        return None


def any_query() -> Depends:
    """``dependencies=[any_query()]``: others make these addresses, or add to them; the query may hold anything."""
    return Depends(_AnyQuery())


class DeclaredQueries:
    """A dependency of every route of an app: refuses parameters that the route does not declare."""

    def __init__(self) -> None:
        self._names: dict[int, frozenset[str]] = {}

    def read(self, app: FastAPI) -> None:
        """By the identity of the route object that a request's scope names."""
        for route in iter_route_contexts(app.routes):
            dependant = getattr(route, "dependant", None)
            if not isinstance(dependant, Dependant) or not (route.path or "").startswith(_PUBLIC):
                continue
            parts = [*_all_of(dependant)]
            if not any(isinstance(part.call, _AnyQuery) for part in parts):
                fields = get_flat_params(Dependant(query_params=[each for part in parts for each in part.query_params]))
                self._names[id(route.original_route)] = frozenset(field.alias for field in fields)

    async def __call__(self, connection: HTTPConnection) -> None:
        scope = connection.scope
        if not scope["query_string"]:
            return
        names = self._names.get(id(scope.get("route")))
        if names is not None and (unknown := sorted(connection.query_params.keys() - names)):
            raise _unknown(unknown, names)


def _all_of(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _all_of(each)


def _unknown(unknown: list[str], names: frozenset[str]) -> InvalidRequest:
    told = [name[:_LONGEST_TOLD] for name in unknown[:_MOST_TOLD]]
    there_are = f"there are {', '.join(sorted(names))}" if names else "there are none"
    return InvalidRequest(
        f"There is no query parameter {', '.join(told)} here; {there_are}.",
        errors=[{"path": f"query.{name}", "message": "there is no such parameter here"} for name in told],
    )
