"""Is it alive, is it ready, what is it, what does it count: /healthz, /readyz, /version, /metrics.

Ready means: started, not stopping, and every check is satisfied. The checks run at the same time, each within two
seconds; the answer names those that are not.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable

from crewmesh_contracts.base import Reply
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.responses import JSONResponse

from crewmesh_kit.identity import public

_CHECK_SECONDS = 2.0

ReadyCheck = Callable[[], Awaitable[str | None]]


class Lifecycle:
    """Where the service is in its life. Long-lived answers watch ``stopping`` and end when it is set."""

    def __init__(self) -> None:
        self.started = False
        self.stopping = asyncio.Event()
        self._asked_to_stop_at: float | None = None

    def stop(self) -> None:
        if self._asked_to_stop_at is None:
            self._asked_to_stop_at = time.monotonic()
        self.stopping.set()

    def seconds_left(self, allowed: float) -> float:
        """What remains of the ``allowed`` seconds since the service was asked to stop."""
        since = time.monotonic() - (self._asked_to_stop_at or time.monotonic())
        return max(0.0, allowed - since)


class Readiness:
    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._checks: dict[str, ReadyCheck] = {}

    def add(self, name: str, check: ReadyCheck) -> None:
        self._checks[name] = check

    async def reasons_not_ready(self) -> dict[str, str]:
        if self._lifecycle.stopping.is_set():
            return {"service": "stopping"}
        if not self._lifecycle.started:
            return {"service": "starting"}
        reasons = await asyncio.gather(*(self._run(check) for check in self._checks.values()))
        return {name: reason for name, reason in zip(self._checks, reasons, strict=True) if reason is not None}

    @staticmethod
    async def _run(check: ReadyCheck) -> str | None:
        try:
            return await asyncio.wait_for(check(), _CHECK_SECONDS)
        except TimeoutError:
            return f"no answer within {_CHECK_SECONDS:.0f} s"
        except Exception as error:
            return f"{type(error).__name__}: {error}"


class Version(Reply):
    app: str
    version: str
    python: str


def health_router(app_id: str, version: str, readiness: Readiness) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[public()])

    @router.get("/healthz")
    async def alive() -> Response:
        return JSONResponse({"status": "alive"})

    @router.get("/readyz")
    async def ready() -> Response:
        reasons = await readiness.reasons_not_ready()
        if reasons:
            return JSONResponse({"status": "not ready", "reasons": reasons}, status_code=503)
        return JSONResponse({"status": "ready"})

    @router.get("/version")
    async def told_version() -> Version:
        return Version(app=app_id, version=version, python=platform.python_version())

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    _ = (alive, ready, told_version, metrics)
    return router
