"""Beginning runs, once per key; waiting for them; deciding what they ask; ending them.

::

    id = await crew_runs.start_in(connection, identity, Work(...))   # beside what goes with it
    standing = await crew_runs.wait(organization, id, 20)            # ended, waiting for people, or still at work
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from crewmesh_contracts.invocations import Verdict
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database, after_commit
from crewmesh_kit.errors import IdempotencyKeyReused
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.crew_runs.driver import DUE, Driver
from crewmesh_agent_crew.crew_runs.errors import CrewQueueFull, CrewRunNotFound
from crewmesh_agent_crew.crew_runs.leases import STOPS
from crewmesh_agent_crew.crew_runs.models import AgentWork, CrewWork, Standing, Work
from crewmesh_agent_crew.crew_runs.record import channel_of, rest_of
from crewmesh_agent_crew.crew_runs.repository import CrewRunRepository
from crewmesh_agent_crew.stopping.errors import ThinkingStopped

_LOOK_SECONDS = 2.0


class CrewRuns:
    def __init__(self, database: Database, signals: Signals, driver: Driver, *, most_queued: int) -> None:
        self._database = database
        self._signals = signals
        self._driver = driver
        self._most_queued = most_queued

    async def start_in(self, connection: AsyncConnection[DictRow], identity: Identity, work: Work) -> str:
        """The id of the run; of the one there is when the key was used before. It begins to work after the commit."""
        repository = CrewRunRepository(connection)
        if work.key and await repository.was_stopped(work.key):
            raise ThinkingStopped("This work was stopped before it began; ask under another key.")
        id_ = new_id("crun")
        if not await repository.add(identity.organization, id_, work):
            known = await repository.standing(key=work.key)
            if known is None:
                raise CrewRunNotFound(work.key)
            check_same(known, work.same)
            return known.id
        if await repository.queued(identity.organization, at_most=self._most_queued + 1) > self._most_queued:
            raise CrewQueueFull(self._most_queued)
        after = {"name": work.name, "kind": work.kind, "version": work.version}
        await audit.record(connection, identity, "crew-run.started", id_, after={**after})
        after_commit(connection, lambda: self._driver.begin_soon(id_, identity.organization))
        return id_

    async def known(self, organization: str, key: str) -> Standing | None:
        """The run that was begun under the key."""
        async with self._database.tenant(organization) as connection:
            return await CrewRunRepository(connection).standing(key=key)

    async def standing(self, organization: str, crew_run: str) -> Standing:
        async with self._database.tenant(organization) as connection:
            found = await CrewRunRepository(connection).standing(id_=crew_run)
        if found is None:
            raise CrewRunNotFound(crew_run)
        return found

    async def doing(self, organization: str, crew_run: str) -> CrewWork | AgentWork:
        """What it was begun with."""
        async with self._database.tenant(organization) as connection:
            found = await CrewRunRepository(connection).doing(crew_run)
        if found is None:
            raise CrewRunNotFound(crew_run)
        return found

    async def wait(self, organization: str, crew_run: str, seconds: float) -> Standing:
        """How it stands when it rests, or when the time is over."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self._signals.listen(rest_of(crew_run)) as listener:
            while True:
                standing = await self.standing(organization, crew_run)
                left = deadline - asyncio.get_running_loop().time()
                if standing.rests or left <= 0:
                    return standing
                await listener.changed(min(left, _LOOK_SECONDS))

    async def begin_again(self, organization: str, crew_run: str) -> None:
        """What failed of something that may pass, from its journal on."""
        async with self._database.tenant(organization) as connection:
            await CrewRunRepository(connection).begin_again(crew_run)
        self._driver.begin_soon(crew_run, organization)

    async def tell(self, organization: str, crew_run: str, verdicts: Sequence[Verdict]) -> None:
        """What people decided elsewhere. What was decided before stays as it was."""
        async with self._database.tenant(organization) as connection:
            repository = CrewRunRepository(connection)
            decided = [await repository.decide(crew_run, verdict) for verdict in verdicts]
        if any(decided):
            self.told(crew_run, organization)

    def told(self, crew_run: str, organization: str) -> None:
        """A decision was committed."""
        self._driver.begin_soon(crew_run, organization)
        self._signals.tell(channel_of(crew_run))

    async def cancel_in(self, connection: AsyncConnection[DictRow], crew_run: str) -> None:
        """End it, wherever it is driven; the model's answer that is under way is broken off."""
        if await CrewRunRepository(connection).ask_to_stop(id_=crew_run) is not None:
            after_commit(connection, self._look_at_stops)

    async def forget_chat_in(self, connection: AsyncConnection[DictRow], conversation: str) -> None:
        """All that was worked for a conversation; what is still at work is broken off."""
        await CrewRunRepository(connection).forget_chat(conversation)
        after_commit(connection, self._look_at_stops)

    async def stop_key(self, organization: str, key: str) -> bool:
        """End what was begun under the key; whether there was such work."""
        async with self._database.tenant(organization) as connection:
            found = await CrewRunRepository(connection).ask_to_stop(key=key)
        if found is not None:
            self._look_at_stops()
        return found is not None

    def _look_at_stops(self) -> None:
        self._signals.tell(STOPS)
        self._signals.tell(DUE)


def check_same(known: Standing, same: str) -> None:
    if known.fingerprint != same:
        raise IdempotencyKeyReused("This Idempotency-Key was used before with another request; use a new key.")
