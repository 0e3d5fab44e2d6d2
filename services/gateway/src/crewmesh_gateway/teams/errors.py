"""What is told about teams that are not there, or are there already."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class UnknownTeam(NotFound):
    """There is no team with this id in the organization."""

    def __init__(self, team: str) -> None:
        super().__init__(f"There is no team {team[:60]!r} here. GET /v1/teams lists those there are.", team=team[:100])


class TeamExists(Conflict):
    """The organization has a team with this name already."""

    slug, title = "team-exists", "Team exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a team called {name!r} already. Use that one, or choose another name.")
