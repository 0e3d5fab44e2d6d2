"""What the outside world does to us, in numbers."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

OUTBOUND_REQUESTS = Counter(
    "crewmesh_outbound_requests_total",
    "Attempts to send a request out of the mesh, by what came of them.",
    ("outcome",),
)
OUTBOUND_SECONDS = Histogram(
    "crewmesh_outbound_request_seconds",
    "Time an outbound request took, redirects included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
