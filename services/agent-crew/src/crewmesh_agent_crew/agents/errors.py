"""How working with agents fails.

::

    NotFound 404                       Conflict 409
    ├── AgentNotFound                  ├── AgentExists
    └── UnknownAgent (retryable)       └── AmbiguousAgent
"""

from __future__ import annotations

from collections.abc import Collection

from crewmesh_kit.errors import Conflict, NotFound


class AgentNotFound(NotFound):
    """The organization has no agent of that name as a record. ``GET /v1/agents`` lists those it has."""

    slug, title = "agent-not-found", "Agent not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no agent {name!r} in this organization; GET /v1/agents lists those there are.")


class AgentExists(Conflict):
    """The organization has an agent of that name already. Choose another name, or change that one."""

    slug, title = "agent-exists", "Agent exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is an agent {name!r} already; choose another name, or change that one.")


class UnknownAgent(NotFound):
    """There is no such agent to set to work, as a record or in a crew. Trying again may help: starter crews appear
    moments after their organization does."""

    slug, title, retryable = "unknown-agent", "Unknown agent", True

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no agent {name!r} in this organization that you may set to work, nor one in a crew; "
            "GET /v1/agents and GET /v1/crews list them."
        )


class AmbiguousAgent(Conflict):
    """Several crews have an agent of that name, and they differ. Give one of them a name of its own."""

    slug, title = "ambiguous-agent", "Ambiguous agent"

    def __init__(self, name: str, crews: Collection[str]) -> None:
        super().__init__(
            f"The crews {', '.join(crews)} have different agents that are called {name!r}; give them different names."
        )
