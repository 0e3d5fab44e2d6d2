"""Running a service as a process: uvicorn on uvloop and httptools, and an end that finishes what is in hand.

At SIGTERM the service stops being ready, open streams end, no new connection is taken, requests and held work are
finished within ``http.shutdown_seconds``, and the process leaves with status 0. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from crewmesh_kit import logs
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.server import HeadLimits, protocol_with
from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import HttpServerSettings, LogSettings, ServiceSettings, variable_name

# sysexits.h: the configuration is at fault, so that starting again will not help.
EXIT_BAD_SETTINGS = 78
# Longer than the 90 s for which a sidecar keeps its idle connections, so that the sidecar is the one who closes them.
_KEEP_ALIVE_SECONDS = 120


def serve(create_app: Callable[[], FastAPI]) -> None:
    """Build the app and answer requests until told to stop. What keeps it from starting is told in one line."""
    app_id = os.environ.get("APP_ID", "service")
    logs.configure(app_id, LogSettings())
    log = logs.get_logger(__name__)
    try:
        app = create_app()
    except (ValidationError, ValueError) as error:
        log.error("the settings are wrong, so the service does not start", reasons=_reasons(error))
        raise SystemExit(EXIT_BAD_SETTINGS) from error
    resources: Resources = app.state.resources
    settings = resources.get(ServiceSettings)
    logs.configure(app_id, settings.log)
    _Server(_uvicorn_config(app, settings), resources.get(Lifecycle)).run()


def _uvicorn_config(app: FastAPI, settings: ServiceSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.http.host,
        port=settings.http.port,
        loop="uvloop",
        http=protocol_with(_head_limits(settings.http)),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.http.shutdown_seconds),
    )


def _head_limits(http: HttpServerSettings) -> HeadLimits:
    return HeadLimits(http.head_seconds, most_bytes=http.max_head_bytes, most_headers=http.max_headers)


class _Server(uvicorn.Server):
    """Tells the service that it is asked to stop, before connections are waited for."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there now stays: modules, routes, models. To walk over all of it again and again would hold up
        # every request for a tenth of a second each time.
        gc.collect()
        gc.freeze()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The signal is not raised again at the end, as uvicorn would: a service that ended well says so.
        self.force_exit = self.should_exit
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._lifecycle.stop)


def _reasons(error: ValueError) -> list[str]:
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [f"{variable_name(each['loc'])}: {each['msg']}" for each in error.errors(include_input=False)]
