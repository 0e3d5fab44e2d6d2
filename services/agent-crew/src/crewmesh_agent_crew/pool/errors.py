"""How waiting for a place fails."""

from __future__ import annotations

from crewmesh_kit.errors import Unavailable


class ModelQueueFull(Unavailable):
    """More model calls of the organization wait for a place than may wait. Try again in a few seconds."""

    slug, title = "model-queue-full", "Model queue full"

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} model calls of this organization wait for a place already; try again in a few seconds.",
            headers={"Retry-After": "3"},
        )
