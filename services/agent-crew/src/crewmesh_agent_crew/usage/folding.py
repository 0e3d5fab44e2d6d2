"""Summing up days that are over, so that what was spent in a month is not read call by call.

A call is marked in the same transaction that adds it to the sums of its day, so that it always stands in one of both:
in the sums, or among the calls that have no mark. Where somebody changes or forgets a call that is in the sums, the
database itself takes its day out of them; see the migration 0014_usage_by_the_day.sql.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger

from crewmesh_agent_crew.spending.hidden import Hidden
from crewmesh_agent_crew.usage.repository import UsageRepository, to_sum_up

_EVERY_SECONDS = 300
_BATCH = 10_000

log = get_logger(__name__)


class Folding:
    def __init__(self, database: Database, *, batch: int = _BATCH) -> None:
        self._database = database
        self._batch = batch

    async def keep_folding(self) -> None:
        """For ever, replicas at different moments."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))
            try:
                await self.fold()
            except DatabaseUnavailable as problem:
                log.warning("usage is not summed up right now", reason=problem.detail)

    async def fold(self) -> int:
        """How many calls were added to the sums of their days."""
        total = 0
        for organization in await to_sum_up(self._database):
            folded = self._batch
            while folded == self._batch:
                async with self._database.tenant(organization) as conn:
                    folded = await UsageRepository(conn, organization, Hidden()).sum_up(self._batch)
                total += folded
        return total


@asynccontextmanager
async def open_folding(resources: Resources) -> AsyncGenerator[Folding]:
    yield Folding(resources.get(Database))


async def keep_folding(resources: Resources) -> None:
    await resources.get(Folding).keep_folding()
