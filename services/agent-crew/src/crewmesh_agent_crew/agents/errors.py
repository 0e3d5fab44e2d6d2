"""How asking an agent fails, beyond the ways in which crews and models do."""

from __future__ import annotations

from collections.abc import Collection

from crewmesh_kit.errors import Conflict, NotFound


class UnknownAgent(NotFound):
    """No crew has such an agent. Trying again may help: starter crews appear moments after their organization does."""

    slug, title, retryable = "unknown-agent", "Unknown agent", True

    def __init__(self, name: str) -> None:
        super().__init__(f"No crew of this organization has an agent {name!r}; GET /v1/crews lists crews and agents.")


class AmbiguousAgent(Conflict):
    """Several crews have an agent of that name, and they differ. Give one of them a name of its own."""

    slug, title = "ambiguous-agent", "Ambiguous agent"

    def __init__(self, name: str, crews: Collection[str]) -> None:
        super().__init__(
            f"The crews {', '.join(crews)} have different agents that are called {name!r}; give them different names."
        )
