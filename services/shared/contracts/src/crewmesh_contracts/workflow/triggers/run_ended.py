"""Start a run when a run of another workflow has ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.ids import Slug, WorkflowId
from crewmesh_contracts.workflow.triggers.base import TriggerBase


class RunEndedTrigger(TriggerBase):
    """``trigger.data`` holds ``run``, ``workflow``, ``status``, ``output`` and ``error`` of the run that ended."""

    kind: Literal["run_ended"]
    workflow: Annotated[WorkflowId | Slug, Field(description="Its id, or its slug.")]
    statuses: Annotated[tuple[Literal["completed", "failed", "cancelled"], ...], Field(min_length=1)] = ("completed",)
