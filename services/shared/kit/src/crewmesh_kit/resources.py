"""What a running service holds, found by type: database, sidecar, clients, the service's own objects.

A handler names what it needs of them in its signature, with ``provided``.
"""

from __future__ import annotations

from typing import TypeVar, cast

from fastapi import Request
from fastapi.params import Depends

T = TypeVar("T")


class Resources:
    """A small registry by type. Asking for what is not there is a wiring mistake and says so."""

    def __init__(self) -> None:
        self._held: dict[type, object] = {}

    def add(self, instance: object, *, as_: type | None = None) -> None:
        """Hold ``instance`` under its own type, or under the type it stands in for."""
        self._held[as_ or type(instance)] = instance

    def get(self, kind: type[T]) -> T:
        try:
            return cast(T, self._held[kind])
        except KeyError:
            known = ", ".join(sorted(held.__name__ for held in self._held)) or "nothing"
            raise LookupError(
                f"no {kind.__name__} is held by this service (it holds {known}); provide it in create_app()"
            ) from None

    def find(self, kind: type[T]) -> T | None:
        return cast("T | None", self._held.get(kind))


def provided(kind: type[T]) -> Depends:
    """``search: Annotated[SearchService, provided(SearchService)]``: what the running service holds of this type."""

    async def provide(request: Request) -> T:
        return cast(Resources, request.app.state.resources).get(kind)

    return Depends(provide)
