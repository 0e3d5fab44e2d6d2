"""The app factory: a service lists what it is made of, and this runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from crewmesh_contracts.events import CloudEvent
from fastapi import APIRouter, FastAPI, Request
from fastapi.params import Depends

from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import ServiceSettings

if TYPE_CHECKING:
    from crewmesh_kit.dapr.sidecar import Sidecar

T = TypeVar("T")

__all__ = ["Resources", "Service", "provided", "serve"]


class Service:
    """One service of the mesh, wired step by step in its ``create_app``."""

    def __init__(
        self,
        app_id: str,
        settings: ServiceSettings,
        *,
        title: str,
        version: str,
        sidecar: Sidecar | None = None,
        edge: bool = False,
    ) -> None:
        self.app_id = app_id
        self.settings = settings
        self.edge = edge
        self.resources = Resources()
        self.app = FastAPI(title=title, version=version)
        self.app.state.resources = self.resources
        self._sidecar = sidecar
        self._migrations: Path | None = None
        self._lifetimes: list[Callable[[Resources], AbstractAsyncContextManager[object]]] = []
        self._background: list[tuple[str, Callable[[Resources], Awaitable[None]]]] = []
        self._subscriptions: list[tuple[str, Callable[[Resources, CloudEvent], Awaitable[None]]]] = []
        self._ready_checks: list[tuple[str, Callable[[Resources], Awaitable[str | None]]]] = []

    def routes(self, *routers: APIRouter) -> None:
        for router in routers:
            self.app.include_router(router)

    def database(self, *, migrations: Path) -> None:
        self._migrations = migrations

    def lifetime(self, open_: Callable[[Resources], AbstractAsyncContextManager[object]]) -> None:
        self._lifetimes.append(open_)

    def background(self, name: str, run: Callable[[Resources], Awaitable[None]]) -> None:
        self._background.append((name, run))

    def subscribe(self, *, topic: str, handler: Callable[[Resources, CloudEvent], Awaitable[None]]) -> None:
        self._subscriptions.append((topic, handler))

    def ready_check(self, name: str, check: Callable[[Resources], Awaitable[str | None]]) -> None:
        self._ready_checks.append((name, check))


def provided(kind: type[T]) -> Depends:
    """``search: Annotated[SearchService, provided(SearchService)]``: what the running service holds of this type."""

    async def provide(request: Request) -> T:
        return cast(Resources, request.app.state.resources).get(kind)

    return Depends(provide)


def serve(create_app: Callable[[], FastAPI]) -> None:
    from crewmesh_kit.serve import serve as run

    run(create_app)
