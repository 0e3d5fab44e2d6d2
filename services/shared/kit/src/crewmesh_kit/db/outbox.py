"""Events leave after the commit that made them true, never before and never not at all.

``add`` writes the event beside the data, in the caller's transaction. The relay publishes what is committed and then
deletes it; dying in between publishes once more, which consumers notice by the event's id (see ``inbox``). An event
that the broker refuses by itself does not hold up the others: it is tried again later and later. One that can
never leave, for it is too large or nested too deep, is kept among the dead letters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from crewmesh_contracts.events import CloudEvent, Event
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import ValidationError

from crewmesh_kit.dapr.traces import traced
from crewmesh_kit.db.database import Connection, Database
from crewmesh_kit.db.storable import clean_text, storable
from crewmesh_kit.errors import PayloadTooLarge, Problem
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import get_logger
from crewmesh_kit.metrics import EVENTS_BURIED

_BATCH = 100
_POLL_SECONDS = 1.0
# Events that are committed shortly after each other leave together, and not in the way of what is being done.
_GATHER_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 60
_BURY = """
WITH gone AS (DELETE FROM outbox WHERE position = %(position)s RETURNING org_id, topic, event)
INSERT INTO dead_letters (id, org_id, topic, event, raw, reason)
SELECT %(letter)s, org_id, topic, CASE WHEN %(storable)s THEN event::jsonb END,
       CASE WHEN NOT %(storable)s THEN event END, %(reason)s
FROM gone
"""

log = get_logger(__name__)


class Publisher(Protocol):
    async def publish_many(self, topic: str, events: Sequence[CloudEvent]) -> None: ...


def cloud_event(event: Event, *, app_id: str) -> CloudEvent:
    """The envelope of an event of ours."""
    return CloudEvent(
        id=new_id("evt"),
        source=f"crewmesh/{app_id}",
        type=event.type(),
        time=datetime.now(UTC),
        crewmeshorg=event.organization,
        data=event.model_dump(mode="json"),
    )


async def add(conn: AsyncConnection[DictRow], event: Event) -> None:
    """Publish ``event`` when, and only when, this transaction is committed."""
    if not isinstance(conn, Connection):
        raise TypeError("outbox.add() needs a connection that Database.tenant() or Database.system() gave out")
    envelope = traced(cloud_event(event, app_id=conn.database.app_id))
    await conn.execute(
        "INSERT INTO outbox (org_id, topic, event) VALUES (%s, %s, %s)",
        [event.organization, event.topic, envelope.model_dump_json(exclude_none=True)],
    )
    conn.after_commit.append(conn.database.outbox_filled.set)


@dataclass(frozen=True, slots=True)
class _Entry:
    position: int
    topic: str
    event: CloudEvent


class Outbox:
    """The relay. Every replica runs one; they share the rows without meeting."""

    def __init__(self, database: Database, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher

    def nudge(self) -> None:
        """Look now. Committing a transaction that called ``add`` does this by itself."""
        self._database.outbox_filled.set()

    async def run(self) -> None:
        """Publish for ever; what cannot be reached is waited for."""
        filled = self._database.outbox_filled
        while True:
            filled.clear()
            try:
                while await self.relay_batch() == _BATCH:
                    pass
            except Problem as problem:
                log.warning("outbox waits", reason=problem.detail)
                await asyncio.sleep(_POLL_SECONDS)
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
                async with asyncio.timeout(_POLL_SECONDS):
                    await filled.wait()
                    await asyncio.sleep(_GATHER_SECONDS)
            except TimeoutError:
                continue

    async def relay_batch(self) -> int:
        """Publish one batch, and say how many rows it looked at."""
        async with self._database.system() as conn:
            cursor = await conn.execute(
                "SELECT position, topic, event FROM outbox WHERE due_at <= now()"
                " ORDER BY due_at, position LIMIT %s FOR UPDATE SKIP LOCKED",
                [_BATCH],
            )
            rows = await cursor.fetchall()
            entries = [entry for row in rows if (entry := await self._read(conn, row)) is not None]
            if not rows:
                return 0
            away = await self._settle(conn, entries, await self._publish(entries))
        if away is not None:
            raise away
        return len(rows)

    async def _read(self, conn: AsyncConnection[DictRow], row: DictRow) -> _Entry | None:
        try:
            return _Entry(row["position"], row["topic"], CloudEvent.model_validate_json(row["event"]))
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
            await self._bury(conn, row["position"], row["topic"], f"it cannot be read: {reason}", storable=False)
            return None

    async def _settle(
        self, conn: AsyncConnection[DictRow], entries: Sequence[_Entry], failures: Mapping[int, Problem]
    ) -> Problem | None:
        """Why the broker is away: nothing got through, and what failed may yet. Then nobody is put off for it."""
        published = [entry.position for entry in entries if entry.position not in failures]
        await conn.execute("DELETE FROM outbox WHERE position = ANY(%s)", [published])
        late: dict[int, Problem] = {}
        for entry in entries:
            problem = failures.get(entry.position)
            if isinstance(problem, PayloadTooLarge):
                kept = storable(entry.event.model_dump(mode="json"))
                await self._bury(conn, entry.position, entry.topic, problem.detail, storable=kept)
            elif problem is not None:
                late[entry.position] = problem
        away = None if published else next((problem for problem in late.values() if problem.retryable), None)
        refused = [position for position, problem in late.items() if away is None or not problem.retryable]
        if refused:
            await conn.execute(
                "UPDATE outbox SET attempts = attempts + 1,"
                " due_at = now() + least(power(2, least(attempts, 10)), %s) * interval '1 second'"
                " WHERE position = ANY(%s)",
                [_LONGEST_PAUSE_SECONDS, refused],
            )
        return away

    async def _bury(
        self, conn: AsyncConnection[DictRow], position: int, topic: str, reason: str, *, storable: bool
    ) -> None:
        log.error("event goes to the dead letters", topic=topic, reason=reason)
        letter = {"position": position, "letter": new_id("dl"), "reason": clean_text(reason)}
        await conn.execute(_BURY, {**letter, "storable": storable})
        EVENTS_BURIED.labels(topic).inc()

    async def _publish(self, entries: Sequence[_Entry]) -> dict[int, Problem]:
        """What did not get through, by position, and why."""
        by_topic: dict[str, list[_Entry]] = {}
        for entry in entries:
            by_topic.setdefault(entry.topic, []).append(entry)
        failures: dict[int, Problem] = {}
        for topic, group in by_topic.items():
            try:
                await self._publisher.publish_many(topic, [entry.event for entry in group])
            except Problem:
                failures |= await self._publish_singly(topic, group)
        return failures

    async def _publish_singly(self, topic: str, entries: Sequence[_Entry]) -> dict[int, Problem]:
        """One of them may be at fault: let the others leave."""

        async def publish(entry: _Entry) -> Problem | None:
            try:
                await self._publisher.publish_many(topic, [entry.event])
            except Problem as problem:
                log.warning("event is not published yet", topic=topic, event_id=entry.event.id, reason=problem.detail)
                return problem
            return None

        problems = await asyncio.gather(*(publish(entry) for entry in entries))
        return {
            entry.position: problem for entry, problem in zip(entries, problems, strict=True) if problem is not None
        }
