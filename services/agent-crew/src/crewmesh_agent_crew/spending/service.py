"""The ledger: what a model was asked, by whom, what it cost, and what it answered. Two short transactions per call.

A call stands in the ledger, with its worst case reserved in every budget that pays for it, before the provider hears of
it. So whatever dies, no money is spent that nobody knows of: a call that was never settled stays charged at its worst
case, marked as unknown, once whoever asked has not been heard of for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database, DatabaseUnavailable, persistently
from crewmesh_kit.logs import get_logger

from crewmesh_agent_crew.budgets.announcing import announce
from crewmesh_agent_crew.spending.charge import NANO
from crewmesh_agent_crew.spending.metrics import MODEL_CALLS, SPENT
from crewmesh_agent_crew.spending.models import Attempt, Began, Begun, Done, End, Settled
from crewmesh_agent_crew.spending.repository import LedgerRepository

_LEASE_SECONDS = 15.0
_BEGUN_WITHIN_SECONDS = 5.0
_SETTLED_WITHIN_SECONDS = 60.0
_SWEEP_SECONDS = 5.0

log = get_logger(__name__)


class Ledger:
    def __init__(self, database: Database, *, lease_seconds: float = _LEASE_SECONDS) -> None:
        self._database = database
        self._lease = lease_seconds
        self._under_way: set[str] = set()

    async def begin(self, attempt: Attempt, *, may_switch: bool) -> Began:
        """Whether the model may be asked. When it is ``Begun``, ``end`` must follow."""

        async def write() -> Began:
            async with self._database.tenant(attempt.charge.organization) as conn:
                began, told = await LedgerRepository(conn).begin(
                    attempt, lease_seconds=self._lease, may_switch=may_switch
                )
                await announce(conn, attempt.charge.organization, told)
                return began

        began = await persistently(write, seconds=_BEGUN_WITHIN_SECONDS)
        if isinstance(began, Begun):
            self._under_way.add(attempt.id)
        return began

    async def end(self, attempt: Attempt, end: End) -> Settled | None:
        """What stands as the answer from now on, if there was one."""

        async def write() -> Settled | None:
            async with self._database.tenant(attempt.charge.organization) as conn:
                settled, told = await LedgerRepository(conn).end(attempt, end)
                await announce(conn, attempt.charge.organization, told)
                return settled

        try:
            settled = await persistently(write, seconds=_SETTLED_WITHIN_SECONDS)
        finally:
            self._under_way.discard(attempt.id)
        MODEL_CALLS.labels(end.outcome).inc()
        SPENT.inc(end.cost / NANO)
        return settled

    async def answered(self, organization: str, key: str) -> Done | None:
        async with self._database.tenant(organization) as conn:
            return await LedgerRepository(conn).answered(organization, key)

    async def keep_alive(self) -> None:
        """For ever: say that what is asked here is still being asked."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await self._extend()
            except DatabaseUnavailable as problem:
                log.warning("model calls under way cannot be kept alive right now", reason=problem.detail)

    async def keep_giving_up(self) -> None:
        """For ever: settle what nobody will settle any more."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.give_up_overdue()
            except DatabaseUnavailable as problem:
                log.warning("model calls of nobody wait to be settled", reason=problem.detail)

    async def give_up_overdue(self) -> int:
        async with self._database.system() as conn:
            overdue = await LedgerRepository(conn).overdue()
        for call, organization in overdue:
            async with self._database.tenant(organization) as conn:
                await announce(conn, organization, await LedgerRepository(conn).give_up(call))
            log.warning("nobody knows what became of a model call; it stays charged", call=call)
        return len(overdue)

    async def _extend(self) -> None:
        if self._under_way:
            async with self._database.system() as conn:
                await LedgerRepository(conn).extend(self._under_way, lease_seconds=self._lease)


@asynccontextmanager
async def open_ledger(resources: Resources) -> AsyncGenerator[Ledger]:
    yield Ledger(resources.get(Database))


async def keep_calls_alive(resources: Resources) -> None:
    await resources.get(Ledger).keep_alive()


async def give_up_lost_calls(resources: Resources) -> None:
    await resources.get(Ledger).keep_giving_up()
