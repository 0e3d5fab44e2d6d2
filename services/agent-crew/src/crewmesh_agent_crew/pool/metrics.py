"""How full the pool is, as Prometheus reads it. Neither organizations nor accounts are labels: there may be many."""

from __future__ import annotations

from prometheus_client import Gauge, Histogram

POOL_RUNNING = Gauge("crewmesh_model_calls_running", "Model calls that have a place.")
POOL_WAITING = Gauge("crewmesh_model_calls_waiting", "Model calls that wait for a place.")
POOL_WAIT_SECONDS = Histogram(
    "crewmesh_model_call_wait_seconds",
    "Time that model calls waited for a place.",
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
