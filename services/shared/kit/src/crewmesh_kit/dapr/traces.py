"""The trace an event came about in, carried by the event itself.

Publishing through the sidecar replaces an event's ``traceparent`` by the sidecar's own, which is empty when a relay
publishes later; an extension attribute of our own is left alone.
"""

from __future__ import annotations

from crewmesh_contracts.events import CloudEvent

from crewmesh_kit.telemetry import trace_headers

TRACE_ATTRIBUTE = "crewmeshtrace"


def traced(event: CloudEvent) -> CloudEvent:
    """The event with the current trace, unless it carries one."""
    traceparent = trace_headers().get("traceparent")
    if traceparent is None or TRACE_ATTRIBUTE in (event.model_extra or {}):
        return event
    return event.model_copy(update={TRACE_ATTRIBUTE: traceparent})
