"""From an event to runs: every workflow that waits for it gets one run, however often the event arrives."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.payloads import storable
from crewmesh_workflow.engine.starter import Starter, Starting
from crewmesh_workflow.triggers import repository
from crewmesh_workflow.triggers.errors import EventWithoutOrganization, UnstorableEvent
from crewmesh_workflow.triggers.schemas import EventAccepted


class Triggers:
    def __init__(self, database: Database, starter: Starter, idempotency: Idempotency) -> None:
        self._database = database
        self._starter = starter
        self._idempotency = idempotency

    async def accept(self, identity: Identity, sent: CloudEvent, *, key: str | None) -> EventAccepted:
        """An event that a caller sent: it is the caller's organization's, whatever it says itself."""
        event = sent.model_copy(update={"crewmeshorg": identity.organization})
        with self._starter.starting() as starting:
            async with self._database.tenant(identity.organization) as conn:

                async def start() -> EventAccepted:
                    return await self._start(conn, starting, identity.organization, event)

                accepted = await self._idempotency.once_in(
                    conn, identity=identity, scope="events", key=key, request=event, work=start, result=EventAccepted
                )
            starting.launch()
        return accepted

    async def consume(self, event: CloudEvent) -> EventAccepted:
        """An event from the topic. A second delivery finds the runs of the first, so it needs no other memory."""
        if event.crewmeshorg is None:
            raise EventWithoutOrganization
        with self._starter.starting() as starting:
            async with self._database.tenant(event.crewmeshorg) as conn:
                accepted = await self._start(conn, starting, event.crewmeshorg, event)
            starting.launch()
        return accepted

    async def _start(
        self, conn: AsyncConnection[DictRow], starting: Starting, organization: str, event: CloudEvent
    ) -> EventAccepted:
        if not storable(event.model_dump(mode="json")):
            raise UnstorableEvent
        runs = [
            await starting.start(
                conn, organization=organization, workflow=match.workflow, version=match.version, event=event
            )
            for match in await repository.matching(conn, organization, event.type, event.source)
        ]
        return EventAccepted(event=event.id, runs=tuple(runs))


@asynccontextmanager
async def open_triggers(resources: Resources) -> AsyncGenerator[Triggers]:
    yield Triggers(resources.get(Database), resources.get(Assembly).starter, resources.get(Idempotency))
