"""What can be wrong with a workflow that is asked for, saved, published or started.

::

    InvalidRequest 400          NotFound 404           Conflict 409             ValidationFailed 422
    └── UnknownTriggerKind      ├── UnknownWorkflow    ├── SlugTaken            ├── InvalidDefinition
                                └── UnknownVersion     ├── WorkflowNotActive    └── InvalidFiles
                                                       └── NothingPublished
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.errors import Conflict, InvalidRequest, NotFound, ValidationFailed

from crewmesh_workflow.program.errors import Mistake

MOST_TOLD = 200


class UnknownWorkflow(NotFound):
    """The organization has no workflow with this id or slug. GET /v1/workflows lists those there are."""

    slug, title = "unknown-workflow", "Unknown workflow"

    def __init__(self, workflow: str) -> None:
        super().__init__(f"There is no workflow {workflow} in this organization; GET /v1/workflows lists all.")


class UnknownVersion(NotFound):
    """The workflow has no published version of this number."""

    slug, title = "unknown-workflow-version", "Unknown workflow version"

    def __init__(self, workflow: str, version: int | str) -> None:
        super().__init__(f"There is no version {version}; GET /v1/workflows/{workflow}/versions lists all.")


class UnknownTriggerKind(InvalidRequest):
    """A list was filtered by a kind of trigger that there is not."""

    slug, title = "unknown-trigger-kind", "Unknown trigger kind"

    def __init__(self, kind: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no trigger kind {kind[:64]!r}; use one of {', '.join(known)}.")


class InvalidDefinition(ValidationFailed):
    """The definition can be read but cannot run: ``errors`` names every field, template, condition or reference."""

    slug, title = "invalid-definition", "Invalid definition"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(
            f"The definition cannot run: correct the {_places(len(mistakes))} listed in errors and send it again.",
            errors=[{"path": mistake.path, "message": mistake.message} for mistake in mistakes[:MOST_TOLD]],
        )


class InvalidFiles(ValidationFailed):
    """Some of the files cannot be applied, so none was: ``errors`` names file, path and what is wrong there."""

    slug, title = "invalid-files", "Invalid files"

    def __init__(self, mistakes: Sequence[tuple[str, Mistake]]) -> None:
        errors: list[JsonValue] = [
            {"file": file, "path": mistake.path, "message": mistake.message} for file, mistake in mistakes[:MOST_TOLD]
        ]
        super().__init__(
            f"Nothing was applied: correct the {_places(len(mistakes))} listed in errors and apply again.",
            errors=errors,
        )


class SlugTaken(Conflict):
    """Another workflow that is not archived has this slug."""

    slug, title = "slug-taken", "Slug taken"

    def __init__(self, slug: str | None) -> None:
        super().__init__(f"Another workflow has the slug {slug!r}. Choose another slug, or archive that workflow.")


class WorkflowNotActive(Conflict):
    """The workflow is paused or archived, so nothing starts runs of it."""

    slug, title = "workflow-not-active", "Workflow not active"

    def __init__(self, workflow: str, status: str) -> None:
        super().__init__(
            f"The workflow is {status}. Make it active first: PUT /v1/workflows/{workflow}/status"
            ' with {"status": "active"}.'
        )


class NothingPublished(Conflict):
    """The workflow is only a draft yet, and this needs a published version."""

    slug, title = "nothing-published", "Nothing published"

    def __init__(self, workflow: str) -> None:
        super().__init__(f"The workflow is only a draft yet. POST /v1/workflows/{workflow}/publish makes it version 1.")


def _places(count: int) -> str:
    return "one place" if count == 1 else f"{count} places"
