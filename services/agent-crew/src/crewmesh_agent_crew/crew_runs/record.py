"""What one play of a run says, written down as it goes: words shortly after they were said, turns with their commit.

Messages that come in quick succession share a commit; a turn that lasts takes none of them along to its end, so that
whoever watches sees what was asked while the agent still thinks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from crewmesh_kit.db.database import DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.crew_runs.errors import LeaseLostError
from crewmesh_agent_crew.crew_runs.journal import Commit, Journal, Message
from crewmesh_agent_crew.crew_runs.models import Held, Turned
from crewmesh_agent_crew.models.usage import Used

_GATHER_SECONDS = 0.2

log = get_logger(__name__)


def channel_of(crew_run: str) -> str:
    """Whoever follows a run listens here."""
    return f"crew-run:{crew_run}"


def rest_of(crew_run: str) -> str:
    """Whoever waits for a run to end, or to wait for people, listens here."""
    return f"crew-run-rest:{crew_run}"


class Record:
    """``used`` by turns that the journal held before counts from the start."""

    def __init__(self, journal: Journal, held: Held, signals: Signals, used: Used) -> None:
        self._journal = journal
        self._held = held
        self._signals = signals
        self._before = used
        self._now: dict[str, Used] = {}
        self._messages: list[Message] = []
        self._writing = asyncio.Lock()
        self._soon: asyncio.Task[None] | None = None

    def say(self, message: Message) -> None:
        self._messages.append(message)
        if self._soon is None:
            self._soon = asyncio.create_task(self._write_soon(), name=f"messages of {self._held.id}")

    def used(self, path: str, used: Used) -> None:
        """All that the turn at ``path`` used in this play, over or not."""
        self._now[path] = used

    async def turn(self, path: str, turned: Turned, *messages: Message) -> None:
        self._messages += messages
        await self._write(Commit(self._total(), turns=[(path, turned)]))

    async def within(self, connection: AsyncConnection[DictRow], message: Message) -> None:
        """A message that is there if and only if the transaction is committed, behind those that were said before."""
        if self._messages:
            await self._write(Commit(self._total()))
        await self._journal.say_within(connection, self._held, message)
        self._signals.tell(channel_of(self._held.id))

    async def end(self, commit: Commit, messages: Sequence[Message] = ()) -> None:
        """The last commit of this play."""
        if self._soon is not None:
            self._soon.cancel()
        self._messages += messages
        await self._write(replace(commit, used=self._total()))
        self._signals.tell(rest_of(self._held.id))

    async def close(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            await asyncio.gather(self._soon, return_exceptions=True)

    def _total(self) -> Used:
        total = self._before
        for used in self._now.values():
            total += used
        return total

    async def _write(self, commit: Commit) -> None:
        async with self._writing:
            messages, self._messages = self._messages, []
            try:
                await self._journal.commit(self._held, replace(commit, messages=messages))
            except BaseException:
                self._messages = messages + self._messages
                raise
        self._signals.tell(channel_of(self._held.id))

    async def _write_soon(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        self._soon = None
        if not self._messages:
            return
        try:
            await self._write(Commit(self._total()))
        except (LeaseLostError, DatabaseUnavailable) as error:
            # The turn's own commit meets the same, and ends the play.
            log.info("messages of a crew run are not written now", crew_run=self._held.id, error=repr(error))
