"""How busy the agents are."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

TURNS = Counter("crewmesh_turns_total", "Turns of agents that ended.", ("outcome",))
TURNS_RUNNING = Gauge("crewmesh_turns_running", "Agents at work.")
TURN_SECONDS = Histogram(
    "crewmesh_turn_seconds",
    "Time of one turn of an agent, its model calls and tools included.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640),
)
