"""How working with prompt templates fails."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class UnknownPromptTemplate(NotFound):
    """The organization has no prompt template of that name. ``GET /v1/prompt-templates`` lists those it has."""

    slug, title = "unknown-prompt-template", "Unknown prompt template"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no prompt template {name!r} in this organization; GET /v1/prompt-templates lists all."
        )


class PromptTemplateExists(Conflict):
    """The organization has a prompt template of that name already. Choose another name, or change that one."""

    slug, title = "prompt-template-exists", "Prompt template exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a prompt template {name!r} already; choose another name, or change that one.")
