"""Forgetting what agents remember for long, when those whose memory it is, or the chats it is of, are deleted.

What has to be forgotten is written down in the transaction that deletes, by the database itself. The knowledge service
is asked until it has answered; and once more a while later, for what was on its way to it at that moment.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from crewmesh_contracts.invocations import FORGET, ForgetRequest
from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.errors import Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger

from crewmesh_agent_crew.memory import repository
from crewmesh_agent_crew.memory.metrics import MEMORY_FAILURES
from crewmesh_agent_crew.memory.models import ToForget

_LOOK_SECONDS = 3.0
_AGAIN_SECONDS = 60.0
_SUBJECT = "agent-crew"

log = get_logger(__name__)


class Forgetting:
    def __init__(self, database: Database, sidecar: Sidecar, *, again_seconds: float = _AGAIN_SECONDS) -> None:
        self._database = database
        self._sidecar = sidecar
        self._again = again_seconds

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                while await self.forget_due():
                    continue
            except DatabaseUnavailable as problem:
                log.warning("what is to be forgotten is not looked for", reason=problem.detail)
            await asyncio.sleep(_LOOK_SECONDS)

    async def forget_due(self) -> int:
        """Ask for what is due; how much that was."""
        due = await repository.take_due(self._database, again_seconds=self._again)
        together: defaultdict[tuple[str, str, bool], list[ToForget]] = defaultdict(list)
        for each in due:
            together[each.organization, each.about, each.run == ""].append(each)
        for several in together.values():
            await self._ask(several)
        return len(due)

    async def _ask(self, several: Sequence[ToForget]) -> None:
        """Of one crew or agent: all, or what some runs left there."""
        organization, about = several[0].organization, several[0].about
        request = ForgetRequest(namespace=about, beginnings=tuple(f"{each.run}/" for each in several if each.run))
        identity = Identity(organization, _SUBJECT, frozenset({FORGET.permission}))
        try:
            gone = await self._sidecar.call(FORGET, request, identity=identity)
        except Problem as problem:
            MEMORY_FAILURES.labels("forget").inc()
            log.warning("memories are forgotten later", about=about, organization=organization, reason=problem.detail)
            return
        await repository.forgotten(self._database, [each.id for each in several])
        log.info("memories are forgotten", about=about, organization=organization, memories=gone.forgotten)


@asynccontextmanager
async def open_forgetting(resources: Resources) -> AsyncGenerator[Forgetting]:
    yield Forgetting(resources.get(Database), resources.get(Sidecar))
