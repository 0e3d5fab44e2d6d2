"""Triggers inside the running service, and the loops that it keeps running for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import SEE_FROM_WORKFLOW, as_workflow
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.triggers.deliveries import Deliveries
from crewmesh_workflow.triggers.ended import EndedRuns
from crewmesh_workflow.triggers.looking_back import LookingBack
from crewmesh_workflow.triggers.service import Triggers


@asynccontextmanager
async def open_triggers(resources: Resources) -> AsyncGenerator[Triggers]:
    database, parts = resources.get(Database), resources.get(Assembly)
    deliveries = Deliveries(parts.control)
    resources.add(LookingBack(database, deliveries))
    may_see = partial(_may_see, resources.get(Sharing))
    resources.add(EndedRuns(database, parts.starter, parts.payloads, may_see))
    yield Triggers(database, parts.starter, deliveries, resources.get(Idempotency))


async def _may_see(
    sharing: Sharing, conn: AsyncConnection[DictRow], organization: str, workflow: str, other: str
) -> bool:
    return await sharing.reaches(conn, as_workflow(organization, workflow, workflow), SEE_FROM_WORKFLOW, other)
