"""What the service counts, as Prometheus reads it at /metrics. Names start with ``crewmesh_``.

Requests are told apart by route template (never by path: ids would make a series each). The time is taken until the
answer begins, so that a stream that lasts an hour does not look like a slow request.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

HTTP_REQUESTS = Counter("crewmesh_http_requests_total", "Requests answered.", ("method", "route", "status"))
HTTP_SECONDS = Histogram(
    "crewmesh_http_request_seconds", "Time until an answer began.", ("method", "route"), buckets=_SECONDS
)
HTTP_IN_FLIGHT = Gauge("crewmesh_http_requests_in_flight", "Requests (and streams) being answered.")
BACKGROUND_FAILURES = Counter(
    "crewmesh_background_failures_total", "Times a background task raised and was started again.", ("task",)
)
EVENTS_BURIED = Counter(
    "crewmesh_events_buried_total", "Events that were too large to leave, kept among the dead letters.", ("topic",)
)
WORK_IN_HAND = Gauge("crewmesh_work_in_hand", "Pieces of background work that a shutdown waits for.")


class RequestMetrics:
    """ASGI middleware: rate, errors and duration of requests per route template."""

    def __init__(self, app: ASGIApp, *, templates: Mapping[int, str]) -> None:
        self._app = app
        self._templates = templates
        # Looking a labelled child up costs more than counting does; there are only as many as routes × statuses.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status, seconds = 0, 0.0

        async def watched(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], perf_counter() - started
            await send(message)

        HTTP_IN_FLIGHT.inc()
        try:
            await self._app(scope, receive, watched)
        finally:
            HTTP_IN_FLIGHT.dec()
            # No status: the client left before there was an answer.
            self._record(scope, status or 499, seconds or perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = self._templates.get(id(scope.get("route")), "unmatched")
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = self._counters[method, route, status] = HTTP_REQUESTS.labels(method, route, str(status))
        counter.inc()
        timer = self._timers.get((method, route))
        if timer is None:
            timer = self._timers[method, route] = HTTP_SECONDS.labels(method, route)
        timer.observe(seconds)


def route_templates(app: FastAPI) -> dict[int, str]:
    """The full template of every route, by the identity of the route object that a request's scope names.

    A route by itself knows its path without the prefixes of the routers that include its router.
    """
    return {id(route.original_route): route.path or "" for route in iter_route_contexts(app.routes)}
