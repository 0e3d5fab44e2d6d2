"""What model calls take, as Prometheus reads it. There are as many models as are built in or in the settings."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

MODEL_TOKENS = Counter("crewmesh_model_tokens_total", "Tokens that models read and wrote.", ("model", "kind"))
MODEL_ATTEMPTS = Counter("crewmesh_model_attempts_total", "Requests sent to model servers.", ("model", "outcome"))
MODEL_KEPT_ANSWERS = Counter(
    "crewmesh_model_kept_answers_total", "Model calls answered from the cache, without asking a server.", ("model",)
)
MODEL_SECONDS = Histogram(
    "crewmesh_model_call_seconds",
    "Time a request to a model server took.",
    ("model", "outcome"),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320),
)
MODEL_FIRST_WORD_SECONDS = Histogram(
    "crewmesh_model_first_word_seconds",
    "Time until the first word of a streamed answer.",
    ("model",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80),
)
