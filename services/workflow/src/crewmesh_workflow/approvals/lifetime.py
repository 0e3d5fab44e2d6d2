"""Approvals inside the running service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing

from crewmesh_workflow.approvals.links import Links
from crewmesh_workflow.approvals.reminders import Reminders
from crewmesh_workflow.approvals.service import Approvals
from crewmesh_workflow.approvals.tokens import LinkTokens
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.settings import WorkflowSettings

MASTER_KEY = "hook-master-key"


@asynccontextmanager
async def open_approvals(resources: Resources) -> AsyncGenerator[Approvals]:
    database = resources.get(Database)
    resources.add(Reminders(database))
    sharing, parts = resources.get(Sharing), resources.get(Assembly)
    yield Approvals(database, resources.get(Idempotency), sharing, arrivals=parts.control, programs=parts.programs)


@asynccontextmanager
async def open_links(resources: Resources) -> AsyncGenerator[Links]:
    """After the approvals they lead to."""
    tokens = LinkTokens(await resources.get(Sidecar).secret(MASTER_KEY))
    base_url = resources.get(WorkflowSettings).public_url
    approvals = resources.get(Approvals)
    yield Links(resources.get(Database), resources.get(Idempotency), approvals, tokens, base_url=base_url)
