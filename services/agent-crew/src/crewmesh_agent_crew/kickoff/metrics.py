"""How busy the crews are and how their work ends."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

KICKOFFS = Counter("crewmesh_kickoffs_total", "Kickoffs that ended.", ("outcome",))
KICKOFFS_RUNNING = Gauge("crewmesh_kickoffs_running", "Crews at work.")
KICKOFFS_WAITING = Gauge("crewmesh_kickoffs_waiting", "Kickoffs that wait for a place.")
KICKOFF_SECONDS = Histogram(
    "crewmesh_kickoff_seconds",
    "Time a crew worked, without the wait for a place.",
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640),
)
