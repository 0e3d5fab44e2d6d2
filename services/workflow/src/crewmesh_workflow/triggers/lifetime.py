"""Triggers inside the running service, and the loops that it keeps running for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.resources import Resources

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
    resources.add(EndedRuns(database, parts.starter, parts.payloads))
    yield Triggers(database, parts.starter, deliveries, resources.get(Idempotency))
