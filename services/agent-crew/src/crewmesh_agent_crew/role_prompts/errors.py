"""How asking for a role fails."""

from __future__ import annotations

from collections.abc import Iterable

from crewmesh_kit.errors import NotFound


class UnknownRole(NotFound):
    """No role of this name is shipped. ``GET /v1/agent-roles`` lists those that are."""

    slug, title = "unknown-role", "Unknown role"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no role {name[:64]!r}; there are {', '.join(known)}.")
