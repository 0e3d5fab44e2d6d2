"""How often agents use which kind of tool, and how that ends."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

TOOL_USES = Counter("crewmesh_tool_uses_total", "Uses of tools by agents.", ("kind", "outcome"))
TOOL_SECONDS = Histogram(
    "crewmesh_tool_seconds",
    "Time a tool took, retries included.",
    ("kind",),
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
TOOL_QUESTIONS = Counter("crewmesh_tool_questions_total", "Uses of tools that people were asked about.", ("why",))
