"""The app factory: a service lists what it is made of, and this runs it.

Starting, in order: the sidecar is waited for, secrets are read, the database is opened and migrated, the identity keys
are loaded, the service's own lifetimes are entered, background loops start. Only then does the port open. Stopping goes
the other way round, after work in hand is finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent, OrganizationDeleted
from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware

from crewmesh_kit import dead_letters, telemetry
from crewmesh_kit.assembly import open_database, open_sidecar, provide_identity
from crewmesh_kit.background import Background
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.dapr.subscriptions import HandleEvent, Subscriptions
from crewmesh_kit.db.database import Database
from crewmesh_kit.health import Lifecycle, Readiness, health_router
from crewmesh_kit.http import problems
from crewmesh_kit.http.access import ask_access_first, check_access_is_declared
from crewmesh_kit.http.middleware import BodyLimit, LastResort, SidecarOnly, ToldLength
from crewmesh_kit.http.openapi import public_openapi
from crewmesh_kit.http.queries import DeclaredQueries
from crewmesh_kit.identity import public
from crewmesh_kit.logs import get_logger
from crewmesh_kit.metrics import RequestMetrics, route_templates
from crewmesh_kit.owned_data.endpoints import owned_data_router
from crewmesh_kit.owned_data.forgetting import Forgettable, Forgetting
from crewmesh_kit.resources import Resources, provided
from crewmesh_kit.settings import ServiceSettings

OpenLifetime = Callable[[Resources], AbstractAsyncContextManager[object]]
RunInBackground = Callable[[Resources], Awaitable[None]]
CheckReady = Callable[[Resources], Awaitable[str | None]]

__all__ = ["Resources", "Service", "provided", "serve"]

log = get_logger(__name__)


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
        self.resources = Resources()
        self._lifecycle = Lifecycle()
        self._readiness = Readiness(self._lifecycle)
        self._tracing = telemetry.tracer_provider(app_id, version, settings.telemetry)
        self._sidecar = sidecar
        self._migrations: Path | None = None
        self._lifetimes: list[OpenLifetime] = []
        self._background: list[tuple[str, RunInBackground]] = []
        self._subscriptions: Subscriptions | None = None
        self._handlers: dict[str, list[HandleEvent]] = {}
        self._templates: dict[int, str] = {}
        self._queries = DeclaredQueries()
        self.app = FastAPI(
            title=title,
            version=version,
            openapi_url=None,
            redirect_slashes=False,  # a redirect would name this service's own address
            lifespan=self._life,
            dependencies=[Depends(self._queries)],
            telemetry=telemetry.request_tracing(self._tracing, settings.telemetry),
            middleware=self._layers(edge=edge),
        )
        self.app.state.resources = self.resources
        problems.install(self.app)
        self._hold_the_basics()

    def routes(self, *routers: APIRouter) -> None:
        for router in routers:
            self.app.include_router(router)

    def database(self, *, migrations: Path) -> None:
        """Open the service's own schema at start-up, migrated, with its outbox relayed."""
        self._migrations = migrations

    def lifetime(self, open_: OpenLifetime) -> None:
        """Enter ``open_`` at start-up, hold what it yields by its type, leave it at the end."""
        self._lifetimes.append(open_)

    def background(self, name: str, run: RunInBackground) -> None:
        """Keep ``run`` running while the service does."""
        self._background.append((name, run))

    def subscribe(self, *, topic: str, handler: HandleEvent) -> None:
        """Give every event on ``topic`` to ``handler``; what fails for good is kept among the dead letters.

        A topic may have several handlers. Each gets every event, and all of them again when one of them failed.
        """
        handlers = self._handlers.setdefault(topic, [])
        handlers.append(handler)
        if len(handlers) > 1:
            return
        if self._subscriptions is None:
            self._subscriptions = Subscriptions(self.app, self.resources)
            # Not described: the service that owns the public path describes it by naming the router itself.
            self.app.include_router(dead_letters.router, include_in_schema=False)
        self._subscriptions.add(topic, partial(_to_all, handlers))
        dead_letters.keep_dead_letters(self._subscriptions, self.resources, topic)

    def owned_data(self, *forgettable: Forgettable) -> None:
        """Export what organizations own here, keep it for as long as they say, forget it when they are deleted."""

        @asynccontextmanager
        async def forgetting(resources: Resources) -> AsyncGenerator[Forgetting]:
            yield Forgetting(resources.get(Database), forgettable)

        async def on_organization_event(resources: Resources, event: CloudEvent) -> None:
            await resources.get(Forgetting).on_organization_event(event)

        self.lifetime(forgetting)
        self.background("forgetting by policy", lambda resources: resources.get(Forgetting).keep_forgetting())
        self.subscribe(topic=OrganizationDeleted.topic, handler=on_organization_event)
        self.routes(owned_data_router(self.app_id))

    def ready_check(self, name: str, check: CheckReady) -> None:
        """Ask ``check`` whenever readiness is asked; a text says why the service is not ready."""
        self._readiness.add(name, partial(check, self.resources))

    def _layers(self, *, edge: bool) -> list[Middleware]:
        layers = [
            Middleware(RequestMetrics, templates=self._templates),
            Middleware(LastResort),
        ]
        if not telemetry.is_exported(self.settings.telemetry):
            layers.insert(0, Middleware(telemetry.TraceIds))
        if not edge:
            layers.insert(0, Middleware(ToldLength))
        if token := self.settings.dapr.app_api_token.get_secret_value():
            layers.append(Middleware(SidecarOnly, token=token, edge=edge))
        return [*layers, Middleware(BodyLimit, most_bytes=self.settings.http.max_body_bytes)]

    def _description(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)

        @router.get("/internal/openapi.json", dependencies=[public()])
        async def openapi() -> JsonObject:
            return public_openapi(self.app)

        _ = openapi
        return router

    def _hold_the_basics(self) -> None:
        self.resources.add(self.settings)
        self.resources.add(self.settings, as_=ServiceSettings)
        self.resources.add(self._lifecycle)
        self.resources.add(self._readiness)

    @asynccontextmanager
    async def _life(self, app: FastAPI) -> AsyncGenerator[None]:
        # After the service's own routes: a router tries them in this order.
        app.include_router(health_router(self.app_id, app.version, self._readiness))
        app.include_router(self._description())
        check_access_is_declared(app)
        ask_access_first(app)
        self._templates.update(route_templates(app))
        self._queries.read(app)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._tracing.shutdown)  # it sends what is left
            background = Background()
            self.resources.add(background)
            await open_sidecar(self.app_id, self.settings.dapr, self._sidecar, self.resources, stack)
            await provide_identity(self.app_id, self.resources)
            if self._migrations is not None:
                database = self.settings.database
                await open_database(self.app_id, database, self._migrations, self.resources, stack)
            for open_ in self._lifetimes:
                self.resources.add(await stack.enter_async_context(open_(self.resources)))
            stack.push_async_callback(background.close)
            for name, run in self._background:
                background.supervise(name, partial(run, self.resources))
            self._lifecycle.started = True
            log.info("service is ready", version=app.version)
            yield
            self._lifecycle.stop()
            log.info("service is stopping")
            await background.drain(self._lifecycle.seconds_left(self.settings.http.shutdown_seconds))


async def _to_all(handlers: Sequence[HandleEvent], resources: Resources, event: CloudEvent) -> None:
    for handle in handlers:
        await handle(resources, event)


def serve(create_app: Callable[[], FastAPI]) -> None:
    """What a service's ``__main__`` calls."""
    from crewmesh_kit.serve import serve as run

    run(create_app)
