"""Statuses as somebody may see them: of runs of crews and agents that are not hidden from them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.http.sse import encoded
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.access import SEE, SEE_AGENT
from crewmesh_agent_crew.statuses.models import AgentStatus, AtWork, Occupation, busiest
from crewmesh_agent_crew.statuses.service import Statuses, channel_of

_LOOK_SECONDS = 10.0
# What several followers of one organization ask at the same moment is read once.
_FRESH_SECONDS = 0.25
_MOST_REMEMBERED = 1_000


class StatusViews:
    def __init__(self, statuses: Statuses, signals: Signals, database: Database, sharing: Sharing) -> None:
        self._statuses = statuses
        self._signals = signals
        self._database = database
        self._sharing = sharing
        self._read: dict[str, tuple[float, asyncio.Task[list[AtWork]]]] = {}

    async def seen_by(self, identity: Identity) -> list[AgentStatus]:
        """Agents at work, by name."""
        at_work = await self._at_work(identity.organization)
        async with self._database.tenant(identity.organization) as connection:
            crews = await self._sharing.reach(connection, identity, SEE)
            agents = await self._sharing.reach(connection, identity, SEE_AGENT)
        reaches = {"crew": crews, "agent": agents}

        def seen(about: str | None) -> bool:
            kind, _, id_ = (about or "").partition(":")
            return kind not in reaches or id_ in reaches[kind]

        return _by_agent([each for each in at_work if seen(each.about)])

    async def follow(self, identity: Identity) -> AsyncGenerator[bytes]:
        """All of them, then each that changes; who stopped is told as idle."""
        told: dict[str, AgentStatus] = {}
        async with self._signals.listen(channel_of(identity.organization)) as listener:
            first = True
            while True:
                try:
                    found = {status.agent: status for status in await self.seen_by(identity)}
                except DatabaseUnavailable:
                    found = told
                changed = [status for status in found.values() if told.get(status.agent) != status]
                changed += [AgentStatus(agent=agent, status="idle") for agent in told if agent not in found]
                told = found
                if changed or first:
                    yield b"".join(_line(status) for status in changed) or b": nobody is at work\n\n"
                first = False
                if await listener.changed(_LOOK_SECONDS):
                    await asyncio.sleep(_FRESH_SECONDS)

    async def _at_work(self, organization: str) -> list[AtWork]:
        read = self._read.get(organization)
        if read is None or read[0] < time.monotonic():
            if len(self._read) > _MOST_REMEMBERED:
                self._read.clear()
            task = asyncio.create_task(self._statuses.at_work(organization))
            read = self._read[organization] = (time.monotonic() + _FRESH_SECONDS, task)
        return await asyncio.shield(read[1])


def _by_agent(runs: list[AtWork]) -> list[AgentStatus]:
    occupations: defaultdict[str, list[Occupation]] = defaultdict(list)
    for run in runs:
        for agent, doing in run.agents.items():
            occupations[agent].append(Occupation(crew_run=run.crew_run, status=doing.status, since=doing.since))
    return [
        AgentStatus(
            agent=agent,
            status=busiest(each.status for each in doing),
            at_work_on=tuple(sorted(doing, key=lambda each: each.crew_run)),
        )
        for agent, doing in sorted(occupations.items())
    ]


def _line(status: AgentStatus) -> bytes:
    return encoded(status.agent, "status", status.model_dump(mode="json"))
