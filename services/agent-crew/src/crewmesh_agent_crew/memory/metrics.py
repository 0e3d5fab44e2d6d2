"""Whether agents can remember."""

from __future__ import annotations

from prometheus_client import Counter

MEMORY_FAILURES = Counter("crewmesh_memory_failures_total", "Times that agents had to do without memory.", ("what",))
