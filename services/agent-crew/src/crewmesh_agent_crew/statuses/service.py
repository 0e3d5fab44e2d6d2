"""Statuses of agents: said in passing, never waited for, told to whoever wants to know.

::

    statuses.now(organization, "writer", crew_run, "thinking", about="crew:crew_…")
    statuses.ended(organization, crew_run)

They are a picture, not a record: kept in memory, shared through Redis, and gone when their process is. Changes leave
twice a second at most, each agent's latest, as events and as a signal to whoever follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from crewmesh_contracts.events import AgentActivity, AgentStatusChanged
from crewmesh_kit.db.outbox import Publisher, cloud_event
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals
from redis.exceptions import RedisError

from crewmesh_agent_crew.statuses.board import Board
from crewmesh_agent_crew.statuses.models import AtWork, Doing, busiest

_GATHER_SECONDS = 0.5
_RENEW_SECONDS = 10.0
_OVER_AFTER = timedelta(seconds=30)
# Whoever waits for people may wait where nobody is at work who could renew it.
_WAITING_FOR = timedelta(hours=1)
_MOST_RUNS = 10_000

log = get_logger(__name__)


def channel_of(organization: str) -> str:
    return f"statuses:{organization}"


class Statuses:
    def __init__(self, board: Board, signals: Signals, publisher: Publisher) -> None:
        self._board = board
        self._signals = signals
        self._publisher = publisher
        self._here: dict[tuple[str, str], AtWork] = {}
        self._changed_runs: set[tuple[str, str]] = set()
        self._changed_agents: dict[tuple[str, str], str] = {}
        self._changed = asyncio.Event()

    def now(
        self, organization: str, agent: str, crew_run: str, status: AgentActivity, *, about: str | None = None
    ) -> None:
        """What the agent does from now on in that run. ``about``: whose run it is. Never waits, never fails."""
        place = (organization, crew_run)
        before = self._here.get(place)
        agents = {} if before is None else dict(before.agents)
        if (agents[agent].status if agent in agents else "idle") == status:
            return
        if status == "idle":
            del agents[agent]
        else:
            agents[agent] = Doing(status=status, since=datetime.now(UTC))
        self._put(place, AtWork(crew_run=crew_run, about=about, until=_until(agents), agents=agents))
        self._tell(place, [agent])

    def ended(self, organization: str, crew_run: str) -> None:
        """All agents of the run are idle, wherever they were said to be anything else."""
        place = (organization, crew_run)
        before = self._here.pop(place, None)
        self._tell(place, () if before is None else before.agents)

    async def at_work(self, organization: str) -> list[AtWork]:
        """The runs in which somebody does something, those of all replicas; only of this one while Redis is away."""
        now = datetime.now(UTC)
        found: dict[str, AtWork] = {}
        try:
            found = {each.crew_run: each for each in await self._board.read(organization)}
            stale = [crew_run for crew_run, each in found.items() if each.until < now]
            if stale:
                await self._board.forget(organization, stale)
        except (RedisError, OSError) as error:
            log.info("statuses of other replicas are not known right now", error=str(error))
        found |= {crew_run: each for (owner, crew_run), each in self._here.items() if owner == organization}
        return [each for each in found.values() if each.until >= now]

    def _put(self, place: tuple[str, str], at_work: AtWork) -> None:
        if at_work.agents:
            self._here[place] = at_work
        else:
            self._here.pop(place, None)
        while len(self._here) > _MOST_RUNS:
            del self._here[next(iter(self._here))]

    def _tell(self, place: tuple[str, str], agents: Iterable[str]) -> None:
        organization, crew_run = place
        self._changed_runs.add(place)
        self._changed_agents.update({(organization, agent): crew_run for agent in agents})
        self._changed.set()

    async def keep_telling(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_RENEW_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                self._renew()
            self._changed.clear()
            await self._tell_all()
            await asyncio.sleep(_GATHER_SECONDS)

    def _renew(self) -> None:
        now = datetime.now(UTC)
        for place, at_work in list(self._here.items()):
            if at_work.until < now:
                del self._here[place]
            elif _until(at_work.agents) > at_work.until and not _only_waits(at_work.agents):
                self._here[place] = at_work.model_copy(update={"until": _until(at_work.agents)})
                self._changed_runs.add(place)

    async def _tell_all(self) -> None:
        runs, self._changed_runs = self._changed_runs, set()
        agents, self._changed_agents = self._changed_agents, {}
        if not runs:
            return
        try:
            await self._board.write((*place, self._here.get(place)) for place in runs)
        except (RedisError, OSError) as error:
            log.info("statuses are not told to other replicas right now", error=str(error))
        for organization in {organization for organization, _ in runs}:
            self._signals.tell(channel_of(organization))
        await self._publish([self._event(*agent, crew_run) for agent, crew_run in agents.items()])

    def _event(self, organization: str, agent: str, crew_run: str) -> AgentStatusChanged:
        """The busiest of what the agent does here."""
        doing: dict[AgentActivity, str] = {
            at_work.agents[agent].status: at_work.crew_run
            for (owner, _), at_work in self._here.items()
            if owner == organization and agent in at_work.agents
        }
        status = busiest(doing)
        return AgentStatusChanged(
            organization=organization, agent=agent, crew_run=doing.get(status, crew_run), status=status
        )

    async def _publish(self, events: list[AgentStatusChanged]) -> None:
        if not events:
            return
        try:
            await self._publisher.publish_many(
                AgentStatusChanged.topic, [cloud_event(event, app_id="agent-crew") for event in events]
            )
        except Problem as problem:
            log.info("statuses of agents are not published right now", reason=problem.detail)


def _only_waits(agents: dict[str, Doing]) -> bool:
    return all(doing.status == "waiting" for doing in agents.values())


def _until(agents: dict[str, Doing]) -> datetime:
    return datetime.now(UTC) + (_WAITING_FOR if _only_waits(agents) else _OVER_AFTER)
