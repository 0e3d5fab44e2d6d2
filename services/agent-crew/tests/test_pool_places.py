"""Places for model calls: never more than there are, fairly shared, and none that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from crewmesh_agent_crew.pool.errors import ModelQueueFull
from crewmesh_agent_crew.pool.service import Pool
from crewmesh_agent_crew.providers.protocol import Account
from crewmesh_agent_crew.settings import PoolSettings
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

SHARED = Account("default", "openai-compatible", "http://127.0.0.1:1/v1")


def a_pool(*, organization: int = 100, account: int = 100, waiting: int = 1_000) -> Pool:
    return Pool(PoolSettings(most_of_one_organization=organization, most_at_one_account=account, most_waiting=waiting))


class Work:
    """Calls that keep their place until they are told to go; ``order`` is how they got theirs."""

    def __init__(self, pool: Pool) -> None:
        self.order: list[str] = []
        self._pool = pool
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str, organization: str, account: Account = SHARED) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._keep(name, organization, account))
        await settle()

    async def _keep(self, name: str, organization: str, account: Account) -> None:
        async with self._pool.place(organization, account):
            self.order.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await settle()

    async def end_all(self, names: Sequence[str]) -> None:
        for name in names:
            await self.end(name)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@asynccontextmanager
async def at_work(pool: Pool) -> AsyncGenerator[Work]:
    work = Work(pool)
    try:
        yield work
    finally:
        await work.close()


async def settle() -> None:
    """Everything that can go on has gone on: nothing here waits for anything but the loop."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_with_a_thousand_calls_does_not_stand_before_the_first_of_another() -> None:
    async with at_work(a_pool(account=1)) as work:
        for number in range(4):
            await work.begin(f"a{number}", "org_a")
        for name in ("b0", "b1", "c0"):
            await work.begin(name, f"org_{name[0]}")
        for _ in range(6):
            await work.end(work.order[-1])
        assert work.order == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]


async def test_an_organization_has_no_more_than_its_share() -> None:
    async with at_work(a_pool(organization=2)) as work:
        for name in ("a0", "a1", "a2", "b0"):
            await work.begin(name, f"org_{name[0]}")
        assert work.order == ["a0", "a1", "b0"]
        await work.end("b0")
        assert work.order == ["a0", "a1", "b0"]
        await work.end("a0")
        assert work.order == ["a0", "a1", "b0", "a2"]


async def test_a_full_account_holds_up_nobody_who_waits_for_another() -> None:
    narrow = Account("narrow", "openai", "http://127.0.0.1:1", organization="org_a", most_at_once=1)
    async with at_work(a_pool(organization=2)) as work:
        await work.begin("n0", "org_a", narrow)
        await work.begin("n1", "org_a", narrow)
        await work.begin("s0", "org_a")
        assert work.order == ["n0", "s0"]
        await work.begin("s1", "org_a")
        await work.end("s0")
        assert work.order == ["n0", "s0", "s1"]


async def test_accounts_of_one_name_are_those_of_their_owners() -> None:
    async with at_work(a_pool(account=1)) as work:
        for organization in ("org_a", "org_b"):
            mine = Account("ours", "openai", "http://127.0.0.1:1", organization=organization)
            await work.begin(organization, organization, mine)
        assert len(work.order) == 2


async def test_who_comes_later_does_not_pass_who_waits() -> None:
    """The place that is free is on its way to who waits, when somebody comes."""
    async with at_work(a_pool(account=1)) as work:
        await work.begin("first", "org_a")
        await work.begin("waiting", "org_a")
        await work.cancel("first")
        await work.begin("late", "org_a")
        assert work.order == ["first", "waiting"]


async def test_waiting_has_an_end_where_too_many_wait() -> None:
    async with at_work(a_pool(account=1, waiting=2)) as work:
        for name in ("a0", "a1", "a2"):
            await work.begin(name, "org_a")
        with pytest.raises(ModelQueueFull) as caught:
            async with work._pool.place("org_a", SHARED):  # pyright: ignore[reportPrivateUsage]  the pool of the test
                pass
        assert (caught.value.retryable, caught.value.headers["Retry-After"]) == (True, "3")
        await work.begin("b0", "org_b")
        await work.end("a0")
        await work.end("a1")
        assert work.order == ["a0", "a1", "b0"]


async def test_who_is_cancelled_while_waiting_takes_no_place() -> None:
    async with at_work(a_pool(account=1)) as work:
        for name in ("a0", "a1", "a2"):
            await work.begin(name, "org_a")
        await work.cancel("a1")
        await work.end("a0")
        assert work.order == ["a0", "a2"]


async def test_a_place_that_comes_together_with_the_cancellation_goes_to_the_next() -> None:
    async with at_work(a_pool(account=1)) as work:
        for name in ("a0", "a1", "a2"):
            await work.begin(name, "org_a")
        work._ends["a0"].set()  # pyright: ignore[reportPrivateUsage]  the moment between two steps is the point
        for _ in range(2):
            await asyncio.sleep(0)
        await work.cancel("a1")
        assert work.order[-1] == "a2"


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["begin", "end", "cancel"]), st.integers(0, 2), st.integers(0, 1)), max_size=60
    )
)
def test_whatever_happens_limits_hold_and_no_place_is_lost(steps: list[tuple[str, int, int]]) -> None:
    accounts = [SHARED, Account("narrow", "openai", "http://127.0.0.1:1", most_at_once=2)]
    asyncio.run(_any_course(steps, accounts))


async def _any_course(steps: list[tuple[str, int, int]], accounts: list[Account]) -> None:
    running: list[tuple[str, str]] = []

    async def call(organization: str, account: Account) -> None:
        async with pool.place(organization, account):
            running.append((organization, account.name))
            assert sum(each[0] == organization for each in running) <= 3
            assert sum(each[1] == account.name for each in running) <= (2 if account.name == "narrow" else 4)
            try:
                await asyncio.Event().wait()
            finally:
                running.remove((organization, account.name))

    pool = a_pool(organization=3, account=4)
    tasks: list[asyncio.Task[None]] = []
    for action, who, where in steps:
        if action == "begin":
            tasks.append(asyncio.create_task(call(f"org_{who}", accounts[where])))
        elif tasks:
            tasks.pop(0 if action == "end" else -1).cancel()
        await settle()
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    # Every place is back: as many as there are can be taken at once, by anybody.
    async with asyncio.timeout(60), AsyncExitStack() as places:
        for organization in ("org_0", "org_0", "org_0", "org_1"):
            await places.enter_async_context(pool.place(organization, SHARED))


async def test_it_is_known_how_many_wait() -> None:
    def figure(name: str) -> float:
        return REGISTRY.get_sample_value(f"crewmesh_model_calls_{name}") or 0

    running, waiting = figure("running"), figure("waiting")
    async with at_work(a_pool(account=2)) as work:
        for number in range(5):
            await work.begin(f"a{number}", "org_a")
        assert (figure("running") - running, figure("waiting") - waiting) == (2, 3)
    assert (figure("running"), figure("waiting")) == (running, waiting)
