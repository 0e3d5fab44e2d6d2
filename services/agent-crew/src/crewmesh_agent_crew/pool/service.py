"""Places for model calls: so many at one account, so many of one organization, at the same time in this process.

Whoever finds no place waits. Places that become free go round among the organizations that wait, one to each in turn,
so that a thousand calls of one do not stand before the first of another; within an organization the first comes first.
An account that is full holds up nobody who waits for another.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

from crewmesh_kit.app import Resources

from crewmesh_agent_crew.pool.errors import ModelQueueFull
from crewmesh_agent_crew.pool.metrics import POOL_RUNNING, POOL_WAIT_SECONDS, POOL_WAITING
from crewmesh_agent_crew.providers.protocol import Account
from crewmesh_agent_crew.settings import PoolSettings, Settings

KeyT = TypeVar("KeyT")

# An account by its owner and its name; the deployment's belong to nobody and are shared by all.
AccountKey: TypeAlias = tuple[str | None, str]


class _Waiter:
    def __init__(self, account: AccountKey, most: int) -> None:
        self.account = account
        self.most = most
        self.place: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def has_gone(self) -> bool:
        """Cancelled, though it may not know yet."""
        return self.place.cancelled()


# Of one organization, by account: as soon as the first of a line cannot go, none behind it can.
_Lines: TypeAlias = dict[AccountKey, deque[_Waiter]]


class Pool:
    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._of_organization: Counter[str] = Counter()
        self._at_account: Counter[AccountKey] = Counter()
        # In the order of their turns.
        self._waiting: OrderedDict[str, _Lines] = OrderedDict()

    @asynccontextmanager
    async def place(self, organization: str, account: Account) -> AsyncGenerator[None]:
        """A place for one call, as soon as there is one."""
        key = (account.organization, account.name)
        most = self._settings.most_at_one_account if account.most_at_once is None else account.most_at_once
        await self._enter(organization, key, most)
        try:
            yield
        finally:
            self._leave(organization, key)

    async def _enter(self, organization: str, account: AccountKey, most: int) -> None:
        # Who comes now stands behind those of the same organization that wait for the same account.
        if account not in self._waiting.get(organization, ()) and self._has_room(organization, account, most):
            self._take(organization, account)
            return
        waiting = sum(map(len, self._waiting.get(organization, {}).values()))
        if waiting >= self._settings.most_waiting:
            raise ModelQueueFull(waiting)
        waiter = _Waiter(account, most)
        self._waiting.setdefault(organization, {}).setdefault(account, deque()).append(waiter)
        started = time.monotonic()
        try:
            with POOL_WAITING.track_inprogress():
                await waiter.place
        except asyncio.CancelledError:
            self._give_up(organization, waiter)
            raise
        POOL_WAIT_SECONDS.observe(time.monotonic() - started)

    def _give_up(self, organization: str, waiter: _Waiter) -> None:
        """Cancelled; the place may have come at the same moment, and is for the next one then."""
        if waiter.has_gone:
            self._strike_out(organization, waiter)
        else:
            self._leave(organization, waiter.account)

    def _leave(self, organization: str, account: AccountKey) -> None:
        POOL_RUNNING.dec()
        _count_down(self._of_organization, organization)
        _count_down(self._at_account, account)
        self._hand_out()

    def _hand_out(self) -> None:
        """Give every place that is free to whoever's turn it is."""
        passed_over = 0
        while passed_over < len(self._waiting):
            organization = next(iter(self._waiting))
            self._waiting.move_to_end(organization)
            waiter = self._next_of(organization)
            if waiter is None:
                passed_over += 1
                continue
            passed_over = 0
            self._strike_out(organization, waiter)
            if not waiter.has_gone:
                self._take(organization, waiter.account)
                waiter.place.set_result(None)

    def _next_of(self, organization: str) -> _Waiter | None:
        for account, line in self._waiting[organization].items():
            if self._has_room(organization, account, line[0].most):
                return line[0]
        return None

    def _strike_out(self, organization: str, waiter: _Waiter) -> None:
        """Unless it was struck out before: by a place that came between its cancellation and its end."""
        lines = self._waiting.get(organization, {})
        if waiter not in lines.get(waiter.account, ()):
            return
        lines[waiter.account].remove(waiter)
        if not lines[waiter.account]:
            del lines[waiter.account]
        if not lines:
            del self._waiting[organization]

    def _has_room(self, organization: str, account: AccountKey, most: int) -> bool:
        most_of_one = self._settings.most_of_one_organization
        return self._at_account[account] < most and self._of_organization[organization] < most_of_one

    def _take(self, organization: str, account: AccountKey) -> None:
        self._of_organization[organization] += 1
        self._at_account[account] += 1
        POOL_RUNNING.inc()


def _count_down(counter: Counter[KeyT], key: KeyT) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


@asynccontextmanager
async def open_pool(resources: Resources) -> AsyncGenerator[Pool]:
    yield Pool(resources.get(Settings).pool)
