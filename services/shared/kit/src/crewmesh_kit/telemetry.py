"""Tracing: one span per request (FastAPI makes it), spans of our own inside, W3C context in and out.

Without a collector nothing is recorded, but every request still has a trace id: it is in the logs, in every problem
document, and travels on to the next service.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from fastapi.telemetry import TelemetryConfig
from opentelemetry import context, propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBasedTraceIdRatio

from crewmesh_kit.settings import TelemetrySettings

_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_SAMPLED = trace.TraceFlags.SAMPLED


def tracer_provider(app_id: str, version: str, settings: TelemetrySettings) -> TracerProvider:
    """The service's provider; libraries that make spans of their own find it as the global one."""
    recording = settings.otlp_endpoint is not None
    provider = TracerProvider(
        resource=Resource.create({"service.name": app_id, "service.version": version, "service.namespace": "crewmesh"}),
        sampler=ParentBasedTraceIdRatio(settings.sample_ratio) if recording else ALWAYS_OFF,
        shutdown_on_exit=False,
    )
    if settings.otlp_endpoint is not None:
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(provider)
    return provider


def request_tracing(provider: TracerProvider) -> TelemetryConfig:
    """FastAPI's own server spans; metrics and logs are ours, and probes are not worth a trace."""
    return {
        "tracer_provider": provider,
        "tracing": True,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"] in _UNTRACED,
    }


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Generator[trace.Span]:
    """A span around a block; an exception that leaves the block marks it as failed."""
    with trace.get_tracer("crewmesh").start_as_current_span(name, attributes=attributes) as current:
        yield current


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
