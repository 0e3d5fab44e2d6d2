"""Tracing: one span per request (FastAPI makes it), spans of our own inside, W3C context in and out.

Without a collector nothing is recorded, and FastAPI's spans (some 35 µs a request) are left out. Every request still
has a trace id: it is in the logs, in every problem document, and travels on to the next service.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from fastapi.telemetry import TelemetryConfig
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBasedTraceIdRatio
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from crewmesh_kit.settings import TelemetrySettings
from crewmesh_kit.speakable import speakable, speakable_query

_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_SAMPLED = trace.TraceFlags.SAMPLED
# All tries of one batch together; the end of a service waits no longer than this for a collector that is away.
_EXPORT_SECONDS = 3
_IDS = RandomIdGenerator()
_W3C = TraceContextTextMapPropagator()


def tracer_provider(app_id: str, version: str, settings: TelemetrySettings) -> TracerProvider:
    """The service's provider; libraries that make spans of their own find it as the global one."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": app_id, "service.version": version, "service.namespace": "crewmesh"}),
        sampler=ParentBasedTraceIdRatio(settings.sample_ratio) if is_exported(settings) else ALWAYS_OFF,
        shutdown_on_exit=False,
    )
    if settings.otlp_endpoint is not None:
        # Imported only when needed: they are a tenth of a service's start.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        provider.add_span_processor(_WithoutSecrets())
        provider.add_span_processor(BatchSpanProcessor(exporter))
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(provider)
    return provider


def is_exported(settings: TelemetrySettings) -> bool:
    return settings.otlp_endpoint is not None


def request_tracing(provider: TracerProvider, settings: TelemetrySettings) -> TelemetryConfig:
    """FastAPI's own server spans; metrics and logs are ours, and probes are not worth a trace."""
    return {
        "tracer_provider": provider,
        "tracing": is_exported(settings),
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"] in _UNTRACED,
    }


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Generator[trace.Span]:
    """A span around a block; an exception that leaves the block marks it as failed."""
    current = trace.get_current_span()
    if _nothing_is_recorded() and current.get_span_context().is_valid:
        yield current  # the block belongs to a trace already, which is all that it can have
        return
    with trace.get_tracer("crewmesh").start_as_current_span(name, attributes=attributes) as current:
        yield current


def _nothing_is_recorded() -> bool:
    provider = trace.get_tracer_provider()
    return isinstance(provider, TracerProvider) and provider.sampler is ALWAYS_OFF


def mark(name: str, **attributes: str | int | float | bool) -> None:
    """A span without length. A collector that judges a trace has it, even while what it tells of goes on for days."""
    with span(name, **attributes):
        pass


@contextmanager
def continued(headers: Mapping[str, str]) -> Generator[None]:
    """Make what happens inside part of the trace that ``headers`` (traceparent, tracestate) name."""
    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def trace_headers() -> dict[str, str]:
    """The W3C headers that carry the current trace to another process; empty outside of any trace."""
    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    headers = {"traceparent": f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags & _SAMPLED:02x}"}
    if current.trace_state:
        headers["tracestate"] = current.trace_state.to_header()
    return headers


def current_trace_id() -> str | None:
    current = trace.get_current_span().get_span_context()
    return f"{current.trace_id:032x}" if current.is_valid else None


class _WithoutSecrets(SpanProcessor):
    """FastAPI writes down where a request went, word for word."""

    def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
        attributes = span.attributes or {}
        for name, told in (("url.path", speakable), ("url.query", speakable_query)):
            if isinstance(value := attributes.get(name), str):
                span.set_attribute(name, told(value))


class TraceIds:
    """ASGI middleware for when nothing is exported: continues the caller's trace, or begins one, by its ids alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = _caller(scope)
        here = trace.SpanContext(
            trace_id=caller.trace_id if caller else _IDS.generate_trace_id(),
            span_id=_IDS.generate_span_id(),
            is_remote=False,
            trace_flags=caller.trace_flags if caller else None,
            trace_state=caller.trace_state if caller else None,
        )
        token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(here)))
        try:
            await self._app(scope, receive, send)
        finally:
            context.detach(token)


def _caller(scope: Scope) -> trace.SpanContext | None:
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }
    if not headers:
        return None
    found = trace.get_current_span(_W3C.extract(headers)).get_span_context()
    return found if found.is_valid else None
