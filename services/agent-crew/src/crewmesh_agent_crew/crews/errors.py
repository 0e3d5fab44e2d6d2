"""How working with crews fails.

::

    NotFound 404                      Conflict 409
    ├── CrewNotFound                  ├── CrewExists
    └── UnknownCrew (retryable)       └── CrewCannotWork
"""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.errors import Conflict, NotFound

from crewmesh_agent_crew.records.mistakes import Mistake, in_short, told


class CrewNotFound(NotFound):
    """The organization has no crew of that name. ``GET /v1/crews`` lists those it has."""

    slug, title = "crew-not-found", "Crew not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no crew {name!r} in this organization; GET /v1/crews lists those there are.")


class UnknownCrew(NotFound):
    """There is no such crew. Trying again may help: starter crews appear moments after their organization does."""

    slug, title, retryable = "unknown-crew", "Unknown crew", True


class CrewExists(Conflict):
    """The organization has a crew of that name already. Choose another name."""

    slug, title = "crew-exists", "Crew exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a crew {name!r} already; choose another name.")


class CrewCannotWork(Conflict):
    """What the crew or the agent refers to is not there any more, or does not fit: ``errors`` says where, and why."""

    slug, title = "crew-cannot-work", "Crew cannot work"

    def __init__(self, called: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__(f"The {called} cannot work as it is defined: {in_short(mistakes)}.", errors=told(mistakes))
