"""How working with crews fails."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class CrewNotFound(NotFound):
    """The organization has no crew of that name. ``GET /v1/crews`` lists those it has."""

    slug, title = "crew-not-found", "Crew not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no crew {name!r} in this organization; GET /v1/crews lists those there are.")


class CrewExists(Conflict):
    """The organization has a crew of that name already. Choose another name."""

    slug, title = "crew-exists", "Crew exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a crew {name!r} already; choose another name.")
