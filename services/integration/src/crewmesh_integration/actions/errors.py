"""How actions fail before anything is done."""

from __future__ import annotations

from collections.abc import Collection

from crewmesh_kit.errors import NotFound


class UnknownConnection(NotFound):
    """There is no such connection. Connections to other products cannot be set up yet; ``webhook`` is always there."""

    slug, title = "unknown-connection", "Unknown connection"

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(
            f"There is no connection {name!r}, and connections to other products cannot be set up yet. There is: "
            f"{', '.join(known)}. To call another product now, use a node of kind http."
        )


class UnknownAction(NotFound):
    """The connection has no such action; the answer lists those it has."""

    slug, title = "unknown-action", "Unknown action"

    def __init__(self, connection: str, name: str, known: Collection[str]) -> None:
        super().__init__(f"The connection {connection!r} has no action {name!r}; it has: {', '.join(known)}.")
