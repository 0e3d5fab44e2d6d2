"""How many crews work, and how their work ends."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CREW_RUNS = Counter("crewmesh_crew_runs_total", "Crew runs that ended or began to wait.", ("kind", "outcome"))
WORKING = Gauge("crewmesh_crew_runs_working", "Crew runs that this replica drives.")
TURNS = Counter("crewmesh_crew_turns_total", "Turns of agents: given now, or answered from the journal.", ("from",))
SECONDS = Histogram(
    "crewmesh_crew_run_seconds",
    "Time for which a crew run was driven at a stretch.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280),
)
