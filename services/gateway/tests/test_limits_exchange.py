"""What the replicas tell each other, through a real Valkey, and what happens without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address

import pytest
from crewmesh_gateway.limits.clock import SharedClock
from crewmesh_gateway.limits.errors import RateLimited
from crewmesh_gateway.limits.exchange import SHARED, Exchange
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.limits.plans import PLANS, Plans
from crewmesh_gateway.limits.windows import MINUTE, SECOND
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.settings import LimitSettings
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.signals import cancelled

from .clocks import Clock

FREE = PLANS["free"]
# Where nobody listens.
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def time_to_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that took too long is given up, with what it told."""
    monkeypatch.setattr("crewmesh_gateway.limits.exchange._CALL_SECONDS", 60.0)


class Replica:
    def __init__(self, gate: Gate, exchange: Exchange, clock: SharedClock) -> None:
        self.gate = gate
        self.exchange = exchange
        self.clock = clock

    def admitted(self, principal: Principal, tries: int) -> int:
        return sum(self._tried(principal) for _ in range(tries))

    def ask_again(self, principal: Principal) -> None:
        meter = self.gate._credentials.find(principal.credential)  # pyright: ignore[reportPrivateUsage]
        if meter is not None:
            self.exchange.tell(meter)

    def _tried(self, principal: Principal) -> bool:
        try:
            self.gate.enter({}, principal)
        except RateLimited:
            return False
        return True


@asynccontextmanager
async def replica(
    url: str, clock: SharedClock | None = None, settings: LimitSettings | None = None
) -> AsyncGenerator[Replica]:
    """Time stands still for it, if nothing else is said."""
    clock, settings = clock or Clock().agreed(), settings or LimitSettings(default_plan="free")
    async with Exchange.open(url, clock, every_seconds=settings.exchange_seconds) as exchange:
        yield Replica(Gate(Plans(settings.default_plan), settings, clock, exchange), exchange, clock)


def principal(organization: str | None = None, *, key: str | None = None, plan: str = "default") -> Principal:
    organization = organization or new_id("org")
    key = key or new_id("key")
    return Principal(
        identity=Identity(organization, key, frozenset({"*"})),
        credential=key,
        user="usr_1",
        role="owner",
        plan=plan,
        deleting=False,
        allowlist=(),
        expires_at=None,
    )


async def test_two_replicas_admit_together_what_one_would(valkey: str) -> None:
    """Each is asked for more than the whole limit, with an exchange between any two requests."""
    somebody = principal()
    async with replica(valkey) as one, replica(valkey) as other:
        admitted = 0
        for _ in range(FREE.credential.per_second):
            for each in (one, other):
                admitted += each.admitted(somebody, 1)
                await each.exchange.exchange()
                await each.exchange.exchange()
        limit = FREE.credential.per_second
        assert limit <= admitted <= limit + 1, "one request may pass while the news is on its way"


async def test_the_minute_holds_across_replicas_within_the_time_of_an_exchange(valkey: str) -> None:
    somebody, clock = principal(), Clock()
    async with replica(valkey, clock.agreed()) as one, replica(valkey, clock.agreed()) as other:
        admitted = {one: 0, other: 0}
        for _ in range(40):  # forty seconds, five requests a second on each: more than the key may
            for each in (one, other):
                admitted[each] += each.admitted(somebody, 5)
                await each.exchange.exchange()
            clock.monotonic += 1
        total = sum(admitted.values())
        assert FREE.credential.per_minute <= total <= FREE.credential.per_minute + 5
        assert min(admitted.values()) > FREE.credential.per_minute / 3, "neither of them had all of it"


async def test_a_replica_that_never_saw_the_key_learns_within_one_exchange(valkey: str) -> None:
    somebody, clock = principal(), Clock()
    async with replica(valkey, clock.agreed()) as one, replica(valkey, clock.agreed()) as other:
        for _ in range(20):
            one.admitted(somebody, 20)
            await one.exchange.exchange()
            clock.monotonic += 1
        assert other.admitted(somebody, 1) == 1
        await other.exchange.exchange()
        assert other.admitted(somebody, 5) == 0


async def test_everybody_else_is_not_concerned(valkey: str) -> None:
    organization = new_id("org")
    async with replica(valkey) as one:
        assert one.admitted(principal(organization), 1000) == FREE.credential.per_second, "its key's limit"
        assert one.admitted(principal(organization), 1000) == FREE.credential.per_second, "another key has its own"
        assert one.admitted(principal(organization), 1000) == 0, "together they used the organization's"
        assert one.admitted(principal(), 1) == 1


async def test_without_valkey_each_counts_alone_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    somebody = principal()
    async with replica(NOWHERE) as one:
        assert one.admitted(somebody, 100) == FREE.credential.per_second
        for _ in range(3):
            one.ask_again(somebody)
            assert not await one.exchange.exchange()
        assert SHARED._value.get() == 0  # pyright: ignore[reportPrivateUsage]
        assert one.admitted(somebody, 10) == 0


async def test_when_valkey_comes_back_counting_together_goes_on(valkey: str) -> None:
    somebody = principal()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(replica(valkey))
        other = await stack.enter_async_context(replica(valkey))
        away = await stack.enter_async_context(replica(NOWHERE))
        reachable, one.exchange._client = one.exchange._client, away.exchange._client  # pyright: ignore[reportPrivateUsage]
        one.admitted(somebody, 10)
        assert not await one.exchange.exchange()
        one.exchange._client = reachable  # pyright: ignore[reportPrivateUsage]
        one.admitted(somebody, 10)
        assert await one.exchange.exchange()
        other.admitted(somebody, 1)
        assert await other.exchange.exchange()
        assert other.gate.used(somebody)["key"] == 11, "what was counted while it was away stays where it was counted"
        assert one.gate.used(somebody)["key"] == 20


@pytest.mark.parametrize("jump", [-86_400.0, -1.0, 1.0, 3600.0])
async def test_a_clock_that_jumps_changes_no_window(valkey: str, jump: float) -> None:
    """The machine's clock only names the first bucket; whatever it shows later is not looked at."""
    somebody, clock = principal(), Clock()
    async with replica(valkey, clock.shared()) as one:
        assert one.admitted(somebody, 100) == FREE.credential.per_second
        clock.wall += jump
        await one.exchange.exchange()
        assert one.admitted(somebody, 100) == 0
        clock.monotonic += 1.2
        assert one.admitted(somebody, 100) == FREE.credential.per_second


async def test_replicas_whose_clocks_differ_by_an_hour_count_together(valkey: str) -> None:
    somebody = principal()
    clocks = Clock(), Clock(monotonic=77.0, wall=1_800_003_600.0)
    async with replica(valkey, clocks[0].shared()) as one, replica(valkey, clocks[1].shared()) as other:
        for each in (one, other):  # the first exchange is where a replica learns which time it is
            each.admitted(principal(), 1)
            await each.exchange.exchange()
        one.admitted(somebody, 20)
        await one.exchange.exchange()
        other.admitted(somebody, 1)
        await other.exchange.exchange()
        assert other.gate.used(somebody)["key"] == 21


async def test_valkeys_own_clock_may_jump() -> None:
    clock = Clock()
    shared = clock.shared()
    shared.heard(shared.now() + 10, at=shared.now())
    assert (shared.shift(MINUTE), shared.shift(SECOND)) == (5, 100)
    shared.heard(shared.now() + 10.3, at=shared.now())
    assert shared.shift(SECOND) == 100, "a network that trembles is no jump"
    before = shared.now()
    shared.heard(before - 7200, at=before)
    assert shared.shift(MINUTE) == -3600
    assert shared.now() == before, "and the windows here stay where they are"


async def test_memory_is_bounded_whatever_comes(valkey: str) -> None:
    settings = LimitSettings(remembered=500, default_plan="free")
    async with replica(valkey, settings=settings) as one:
        known = principal()
        one.admitted(known, 5)
        for number in range(30_000):
            one.gate.stranger({}, str(IPv4Address(number * 131_071 % 2**32)))
        assert len(one.gate._addresses) == 500  # pyright: ignore[reportPrivateUsage]
        assert len(one.exchange._waiting) <= 2, "strangers who come once are told to nobody"  # pyright: ignore[reportPrivateUsage]
        assert one.gate.used(known)["key"] == 5, "strangers push out nobody who is known"


async def test_one_network_of_ipv6_is_one_caller_and_disguises_do_not_help(valkey: str) -> None:
    settings = LimitSettings(address_per_second=3, address_per_minute=1000)
    clock = Clock()
    async with replica(valkey, clock.shared(), settings) as one:

        def tried(address: str) -> bool:
            try:
                one.gate.stranger({}, address)
            except RateLimited:
                return False
            return True

        assert [tried(f"2001:db8::{n}") for n in range(1, 6)] == [True] * 3 + [False] * 2
        assert tried("2001:db8:0:1::1"), "the next network"
        assert [tried(each) for each in ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1")][-1] is False


async def test_the_loop_exchanges_by_itself(valkey: str) -> None:
    somebody = principal()
    async with replica(valkey) as one, replica(valkey) as other:
        loops = [asyncio.create_task(each.exchange.keep_exchanging()) for each in (one, other)]
        try:
            one.admitted(somebody, 9)
            async with asyncio.timeout(60):
                other.admitted(somebody, 1)
                while other.gate.used(somebody)["key"] < 10:
                    other.ask_again(somebody)
                    await asyncio.sleep(0.02)
        finally:
            await cancelled(loops)
