"""What can be wrong with a workflow that is asked for or saved."""

from __future__ import annotations

from crewmesh_kit.errors import NotFound, ValidationFailed

from crewmesh_workflow.engine.program import InvalidDefinitionError


class UnknownWorkflow(NotFound):
    """The organization has no workflow with this id. GET /v1/workflows lists those there are."""

    slug, title = "unknown-workflow", "Unknown workflow"

    def __init__(self, workflow: str) -> None:
        super().__init__(f"There is no workflow {workflow} in this organization; GET /v1/workflows lists all.")


class InvalidDefinition(ValidationFailed):
    """The definition has the right shape but cannot run: ``errors`` names every template, condition or reference."""

    slug, title = "invalid-definition", "Invalid definition"

    def __init__(self, error: InvalidDefinitionError) -> None:
        super().__init__(
            f"The definition cannot run: correct the {len(error.mistakes)} places listed in errors and save it again.",
            errors=[{"path": mistake.path, "message": mistake.message} for mistake in error.mistakes],
        )
