"""What can be wrong with asking for a run."""

from __future__ import annotations

from crewmesh_kit.errors import NotFound


class UnknownRun(NotFound):
    """The organization has no run with this id. GET /v1/runs lists those there are."""

    slug, title = "unknown-run", "Unknown run"

    def __init__(self, run: str) -> None:
        super().__init__(f"There is no run {run} in this organization; GET /v1/runs lists all.")
