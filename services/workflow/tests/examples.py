"""How generated tests are run: with the same examples on every machine, and none judged by how long it takes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

UNHURRIED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
