"""What the engine counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

RUNS_STARTED = Counter("crewmesh_workflow_runs_started_total", "Runs acknowledged.")
RUNS_FINISHED = Counter("crewmesh_workflow_runs_finished_total", "Runs ended by this replica.", ("status",))
STEP_SECONDS = Histogram(
    "crewmesh_workflow_step_seconds", "Time of one attempt.", ("kind", "outcome"), buckets=_SECONDS
)
RETRIES = Counter("crewmesh_workflow_step_retries_total", "Attempts that were followed by another.", ("kind",))
LEASES_LOST = Counter("crewmesh_workflow_leases_lost_total", "Workers that found their run taken over.")
DUE_RUNS = Gauge("crewmesh_workflow_due_runs", "Runs that the last sweep found due.")
INLINE_IN_USE = Gauge("crewmesh_workflow_inline_slots_in_use", "Runs being advanced by the replica that started them.")
