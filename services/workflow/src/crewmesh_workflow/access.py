"""What is needed for what is done with one workflow and its runs. A run is seen and steered like its workflow.

A run acts as its workflow, never as whoever started it (docs/adr/0011-a-run-acts-as-its-workflow.md).
"""

from __future__ import annotations

from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Kind, Need

WORKFLOW = Kind("workflow", path="workflows", called="workflow")

SEE = Need(WORKFLOW, "view", "workflows:read", seeing="workflows:read")
CHANGE = Need(WORKFLOW, "edit", "workflows:write", seeing="workflows:read")
SEE_RUNS = Need(WORKFLOW, "view", "runs:read", seeing="runs:read")
# To start runs, and to do something with those there are.
RUN = Need(WORKFLOW, "run", "runs:write", seeing="runs:read")
# What people are asked is seen with the workflow that asks, or by whom it asks by name.
SEE_QUESTIONS = Need(WORKFLOW, "view", "approvals:read", seeing="approvals:read")
ANSWER_QUESTIONS = Need(WORKFLOW, "view", "approvals:decide", seeing="approvals:read")

# Between workflows, in this service alone: this permission is in no role and no token.
_WORKFLOW_TO_WORKFLOW = "workflows:from-workflow"
SEE_FROM_WORKFLOW = Need(WORKFLOW, "view", _WORKFLOW_TO_WORKFLOW, seeing=_WORKFLOW_TO_WORKFLOW)
RUN_FROM_WORKFLOW = Need(WORKFLOW, "run", _WORKFLOW_TO_WORKFLOW, seeing=_WORKFLOW_TO_WORKFLOW)


def as_workflow(
    organization: str, workflow: str, subject: str, permissions: frozenset[str] = frozenset({_WORKFLOW_TO_WORKFLOW})
) -> Identity:
    """The workflow itself, in the name of a run or trigger of it."""
    return Identity(organization, subject, permissions, frozenset({f"workflow:{workflow}"}))
