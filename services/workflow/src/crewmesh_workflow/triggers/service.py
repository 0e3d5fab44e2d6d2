"""From an event to runs: every workflow that asked for it gets one run, and every run that waits for it goes on.

All of it is one transaction, and nothing of it happens twice however often the event arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent, wrong_type
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.storable import refused_places
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine.admission import WorkflowBusy
from crewmesh_workflow.engine.commits import EventKey
from crewmesh_workflow.engine.starter import NewRun, Starter, Starting
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.triggers import repository
from crewmesh_workflow.triggers.deliveries import Deliveries
from crewmesh_workflow.triggers.errors import EventWithoutOrganization, UnfitEventType, UnstorableEvent
from crewmesh_workflow.triggers.matching import admits, seen, texts
from crewmesh_workflow.triggers.registration import WAIT
from crewmesh_workflow.triggers.repository import Match
from crewmesh_workflow.triggers.schemas import EventAccepted, FilterFailure, Refusal

log = get_logger(__name__)


class Triggers:
    def __init__(self, database: Database, starter: Starter, deliveries: Deliveries, idempotency: Idempotency) -> None:
        self._database = database
        self._starter = starter
        self._deliveries = deliveries
        self._idempotency = idempotency

    async def accept(self, identity: Identity, sent: CloudEvent, *, key: str | None) -> EventAccepted:
        """An event that a caller sent: it is the caller's organization's, whatever it says itself."""
        if (wrong := wrong_type(sent.type)) is not None:
            raise UnfitEventType(wrong)
        event = sent.model_copy(update={"crewmeshorg": identity.organization})
        with self._starter.starting() as starting:
            async with self._database.tenant(identity.organization) as conn:

                async def take() -> EventAccepted:
                    return await self._take(conn, starting, identity.organization, event)

                accepted = await self._idempotency.once_in(
                    conn, identity=identity, scope="events", key=key, request=event, work=take, result=EventAccepted
                )
            starting.launch()
        return accepted

    async def consume(self, event: CloudEvent) -> EventAccepted:
        """An event from the topic. A second delivery finds the runs of the first, so it needs no other memory."""
        if event.crewmeshorg is None:
            raise EventWithoutOrganization
        with self._starter.starting() as starting:
            async with self._database.tenant(event.crewmeshorg) as conn:
                accepted = await self._take(conn, starting, event.crewmeshorg, event)
            starting.launch()
        return accepted

    async def _take(
        self, conn: AsyncConnection[DictRow], starting: Starting, organization: str, event: CloudEvent
    ) -> EventAccepted:
        content, key = seen(event), EventKey(event.source, event.id)
        if wrong := next(refused_places(content, "event"), None):
            raise UnstorableEvent(*wrong)
        matches = await repository.matching(conn, organization, event.type, event.source)
        failures: list[FilterFailure] = []
        refused: list[Refusal] = []
        runs: list[str] = []
        wanted = _one_of_each_workflow(_admitting(matches, content, failures))
        planned = [_new_run(match, content, key) for match in wanted]
        await starting.take_turns(conn, planned)
        for new in planned:
            try:
                runs.append((await starting.start(conn, organization, new)).run)
            except WorkflowBusy as busy:
                # Its definition says so. The others that asked for the event must not wait for it.
                log.info("a workflow at its limit takes no run", workflow=new.workflow)
                refused.append(Refusal(workflow=new.workflow, detail=busy.detail))
        woken = await self._wake(conn, organization, event.type, content, key, matches, failures)
        return EventAccepted(
            event=event.id,
            runs=tuple(runs),
            woken=tuple(woken),
            filter_failures=tuple(failures),
            refused=tuple(refused),
        )

    async def _wake(
        self,
        conn: AsyncConnection[DictRow],
        organization: str,
        type_: str,
        event: JsonObject,
        key: EventKey,
        matches: Iterable[Match],
        failures: list[FilterFailure],
    ) -> list[str]:
        if all(match.kind != WAIT for match in matches):
            return []
        waits = await repository.keep_and_look(conn, organization, key.digest(), type_, event, texts(event))
        return await self._deliveries.give(conn, organization, key.digest(), event, waits, failures)


def _admitting(matches: Iterable[Match], event: JsonObject, failures: list[FilterFailure]) -> Iterator[Match]:
    for match in matches:
        if match.kind == WAIT:
            continue
        try:
            if admits(match.filter, event):
                yield match
        except ExpressionError as error:
            log.warning("the filter of a trigger has no value", workflow=match.workflow, trigger=match.key, error=error)
            failures.append(FilterFailure(workflow=match.workflow, trigger=match.key, detail=str(error)))


def _one_of_each_workflow(matches: Iterable[Match]) -> Iterable[Match]:
    found: dict[str, Match] = {}
    for match in matches:
        found.setdefault(match.workflow, match)
    return found.values()


def _new_run(match: Match, event: JsonObject, key: EventKey) -> NewRun:
    return NewRun(
        workflow=match.workflow,
        version=match.version,
        trigger=event,
        key=key,
        origin="event",
        started_by=match.id,
    )
