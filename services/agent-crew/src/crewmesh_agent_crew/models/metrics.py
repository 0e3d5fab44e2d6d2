"""What model calls cost, as Prometheus reads it. The model's name comes from the settings, so there are few series."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

MODEL_TOKENS = Counter("crewmesh_model_tokens_total", "Tokens that models read and wrote.", ("model", "kind"))
MODEL_ATTEMPTS = Counter("crewmesh_model_attempts_total", "Requests sent to model servers.", ("model", "outcome"))
MODEL_SECONDS = Histogram(
    "crewmesh_model_call_seconds",
    "Time a model call took, all attempts included.",
    ("model", "outcome"),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320),
)
