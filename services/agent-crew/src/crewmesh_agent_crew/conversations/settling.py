"""How answers end: what became of the run behind one is written into its conversation, once, by whoever sees it first.

The run keeps its result in any case, so nothing is lost between its end and this. Every replica hears of runs that end
and looks now and then for what nobody heard of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.background import Background
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.conversations.errors import AnswerLost
from crewmesh_agent_crew.conversations.models import Ending
from crewmesh_agent_crew.conversations.repository import ConversationRepository
from crewmesh_agent_crew.conversations.tree import MessageRepository
from crewmesh_agent_crew.conversations.views import failure_of
from crewmesh_agent_crew.crew_runs.errors import CrewRunNotFound
from crewmesh_agent_crew.crew_runs.models import ENDED, Standing
from crewmesh_agent_crew.crew_runs.record import rest_of
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.live.words import Words

_LOOK_SECONDS = 10.0
_MOST_AT_ONCE = 200
_FORGOTTEN_AFTER_SECONDS = 15.0

# What follows an answer: (organization, conversation, answer, how its run stood).
AndThen = Callable[[str, str, str, Standing], Coroutine[object, object, None]]

log = get_logger(__name__)


def channel_of(conversation: str) -> str:
    """Whoever follows a conversation listens here."""
    return f"conversation:{conversation}"


class Settling:
    def __init__(
        self,
        database: Database,
        runs: CrewRuns,
        words: Words,
        signals: Signals,
        background: Background,
        and_then: AndThen,
    ) -> None:
        self._database = database
        self._runs = runs
        self._words = words
        self._signals = signals
        self._background = background
        self._and_then = and_then
        self._rested: set[str] = set()
        self._heard = asyncio.Event()
        signals.watch(rest_of(""), self._rests)

    async def settle(self, crew_run: str) -> None:
        """Write down what became of the answer that the run gives, if it has ended."""
        async with self._database.system() as connection:
            row = await MessageRepository(connection).of_run(crew_run)
        if row is None:
            return
        organization, conversation, answer = str(row["org_id"]), str(row["conversation"]), str(row["id"])
        try:
            standing = await self._runs.standing(organization, crew_run)
        except CrewRunNotFound:
            await self._end(organization, conversation, answer, _lost(crew_run))
            return
        if standing.status not in ENDED:
            self._signals.tell(channel_of(conversation))  # it waits for people, or goes on
            return
        ending = await self._ending(organization, standing)
        if await self._end(organization, conversation, answer, ending) and ending.status == "done":
            self._background.start(f"after {answer}", self._and_then(organization, conversation, answer, standing))

    async def _ending(self, organization: str, standing: Standing) -> Ending:
        usage = cast(JsonObject, standing.used.told().model_dump(mode="json"))
        if standing.result is not None:
            return Ending("done", standing.result.text, usage=usage)
        said = await self._words.said(organization, standing.id)
        if standing.status == "cancelled":
            return Ending("cancelled", said, usage=usage)
        problem = cast(JsonObject, (standing.problem or {}).get("problem") or {})
        return Ending("failed", said, error=failure_of(problem), usage=usage)

    async def _end(self, organization: str, conversation: str, answer: str, ending: Ending) -> bool:
        async with self._database.tenant(organization) as connection:
            ended = await MessageRepository(connection).end(answer, ending)
            if ended:
                await ConversationRepository(connection).happened(organization, conversation, ending.status, answer)
        if ended:
            self._signals.tell(channel_of(conversation))
        return ended

    def _rests(self, crew_run: str | None) -> None:
        if crew_run is not None:
            self._rested.add(crew_run)
        self._heard.set()

    async def keep_settling(self) -> None:
        look_at = 0.0
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._heard.wait()
            except TimeoutError:
                look_at = 0.0
            self._heard.clear()
            rested, self._rested = self._rested, set()
            try:
                if asyncio.get_running_loop().time() >= look_at:
                    look_at = asyncio.get_running_loop().time() + _LOOK_SECONDS
                    rested |= await self._forgotten()
                await asyncio.gather(*(self.settle(crew_run) for crew_run in rested))
            except Problem as problem:
                self._rested |= rested
                log.warning("ends of answers are written down later", reason=problem.detail)

    async def _forgotten(self) -> set[str]:
        async with self._database.system() as connection:
            runs = await MessageRepository(connection).under_way(
                older_than_seconds=_FORGOTTEN_AFTER_SECONDS, limit=_MOST_AT_ONCE
            )
        return set(runs)


def _lost(crew_run: str) -> Ending:
    problem = AnswerLost(f"The work behind this answer ({crew_run}) is gone; ask for the answer again.")
    return Ending("failed", "", error=failure_of(problem.document()))
