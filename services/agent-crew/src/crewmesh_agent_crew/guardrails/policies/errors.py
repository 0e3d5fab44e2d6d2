"""How working with policies fails."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class PolicyNotFound(NotFound):
    """The organization has no policy of that name. ``GET /v1/policies`` lists those it has."""

    slug, title = "policy-not-found", "Policy not found"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no policy {name[:64]!r} in this organization; GET /v1/policies lists those there are."
        )


class PolicyExists(Conflict):
    """The organization has a policy of that name already. Choose another name, or change that one."""

    slug, title = "policy-exists", "Policy exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a policy {name!r} already; choose another name, or change it with PUT.")


class PolicyRenamed(Conflict):
    """A policy keeps its name. Create one with the other name, and delete this one."""

    slug, title = "policy-renamed", "Policy renamed"

    def __init__(self, name: str, other: str) -> None:
        super().__init__(f"The policy {name!r} keeps its name; create {other!r} beside it, and delete this one.")
