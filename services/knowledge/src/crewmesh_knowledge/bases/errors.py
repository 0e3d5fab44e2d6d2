"""What can be wrong with the name of a knowledge base."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class UnknownKnowledgeBase(NotFound):
    """The organization has no knowledge base of this name. Create it with POST /v1/knowledge-bases."""

    slug, title = "unknown-knowledge-base", "Unknown knowledge base"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no knowledge base {name!r} in this organization. "
            f'Create it with POST /v1/knowledge-bases and {{"name": "{name}"}}, or list those there are with GET.'
        )


class KnowledgeBaseExists(Conflict):
    """The organization has a knowledge base of this name already; names are unique in an organization."""

    slug, title = "knowledge-base-exists", "Knowledge base exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a knowledge base {name!r} already. Choose another name, or add documents to it.")
