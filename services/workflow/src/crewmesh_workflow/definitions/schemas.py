"""Workflows as callers see them."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Reply
from crewmesh_contracts.ids import WorkflowId
from crewmesh_contracts.workflow import Definition


class WorkflowSummary(Reply):
    """A workflow in a list."""

    id: WorkflowId
    name: str
    version: int
    created_at: datetime


class Workflow(WorkflowSummary):
    """A workflow with the definition of its newest version."""

    definition: Definition
