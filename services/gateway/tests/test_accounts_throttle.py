"""Guessing is slow, and only for who guesses."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections import Counter
from collections.abc import Callable

import httpx2
import pytest
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import PasswordSettings, Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import served, until
from .guests import CHEAP, FORGIVEN_PER_HOUR, PASSWORD, account_settings, guest, member
from .inside import change
from .post import PostOffice

WRONG = "a wrong but long password"
FORGIVEN_AFTER = 3600 // FORGIVEN_PER_HOUR + 1


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    return account_settings(database_url("gateway"), office)


async def test_who_guesses_waits_and_who_was_here_before_does_not(
    client: httpx2.AsyncClient, office: PostOffice
) -> None:
    victim = await member(client, office, "victim@example.org")
    assert (await victim.log_in("victim@example.org")).status_code == 200
    thief = guest(client)
    answers = [await thief.log_in("victim@example.org", f"{WRONG} {number}") for number in range(15)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 5
    assert 1 <= int(answers[-1].headers["retry-after"]) <= FORGIVEN_AFTER
    assert (await thief.log_in("victim@example.org")).status_code == 429, "even with the right one"
    assert (await victim.log_in("victim@example.org")).status_code == 200, "the victim is not kept out"
    assert (await guest(client).log_in("victim@example.org")).status_code == 200, "nor where they never were"


async def test_many_addresses_have_one_guess_each(client: httpx2.AsyncClient, office: PostOffice) -> None:
    await member(client, office, "victim@example.org")
    for _ in range(10):
        assert (await guest(client).log_in("victim@example.org", WRONG)).status_code == 401
    bot = guest(client)
    assert (await bot.log_in("victim@example.org", WRONG)).status_code == 401
    refused = await bot.log_in("victim@example.org", WRONG)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) <= FORGIVEN_AFTER


async def test_many_accounts_from_one_address(client: httpx2.AsyncClient, office: PostOffice) -> None:
    neighbour = await member(client, office, "neighbour@example.org")
    assert (await neighbour.log_in("neighbour@example.org")).status_code == 200
    sprayer = guest(client, neighbour.address)
    answers = Counter([(await sprayer.log_in(f"{number}@example.org", WRONG)).status_code for number in range(60)])
    assert answers == {401: 50, 429: 10}
    assert (await neighbour.log_in("neighbour@example.org")).status_code == 200


async def test_failures_are_known_to_every_replica_and_after_a_restart(
    office: PostOffice, database_url: Callable[[str], str], sidecar: FakeSidecar
) -> None:
    settings = account_settings(database_url("gateway"), office)
    thief_at = "192.0.2.7"
    async with running(create_app(settings, sidecar)) as first, running(create_app(settings, sidecar)) as second:
        for number in range(10):
            client = (first, second)[number % 2]
            assert (await guest(client, thief_at).log_in("victim@example.org", WRONG)).status_code == 401
    async with running(create_app(settings, sidecar)) as third:
        assert (await guest(third, thief_at).log_in("victim@example.org", WRONG)).status_code == 429


async def test_guesses_at_once_count_like_guesses_one_after_another(client: httpx2.AsyncClient) -> None:
    thief = guest(client)
    answers = await asyncio.gather(*(thief.log_in("victim@example.org", f"{WRONG} {n}") for n in range(60)))
    assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 50}


async def test_failures_are_forgotten_with_time(app: FastAPI, client: httpx2.AsyncClient, office: PostOffice) -> None:
    await member(client, office, "victim@example.org")
    thief = guest(client)
    answers = [await thief.log_in("victim@example.org", WRONG) for _ in range(11)]
    assert answers[-1].status_code == 429
    await change(app, "UPDATE attempts SET at = at - interval '10 hours'")
    assert (await thief.log_in("victim@example.org")).status_code == 200


def a_measure_of_this_machine() -> float:
    """Seconds of its processor for work that is always the same: some 40 ms where it is fast."""
    began = time.thread_time()
    sum(number * number for number in range(1_000_000))
    return time.thread_time() - began


async def test_a_thousand_logins_at_once(
    office: PostOffice, database_url: Callable[[str], str], sidecar: FakeSidecar
) -> None:
    """Right ones get in, wrong ones are slowed, and everything else goes on meanwhile."""
    crowded = CHEAP.model_copy(update={"waiting": 2000})
    settings = account_settings(database_url("gateway"), office, passwords=crowded)
    people = [f"p{number}@example.org" for number in range(5)]
    thief_at = "192.0.2.66"
    stalls: list[float] = []

    async def watch() -> None:
        """What the event loop's own thread computes between two looks: what clients and others do does not count."""
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.005)
            stalls.append(time.thread_time() - began)

    async def come(url: str) -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(base_url=url, timeout=3000, limits=limits) as client:
            right = [guest(client).log_in(people[number % 5]) for number in range(300)]
            wrong = [guest(client, thief_at).log_in(people[number % 5], f"{WRONG} {number}") for number in range(700)]
            return await asyncio.gather(*right, *wrong)

    app = create_app(settings, sidecar)
    async with served(app) as (host, port), httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=60) as client:
        for email in people:
            await member(client, office, email)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Collecting garbage walks through everything that lives, which in a run of tests is far more than a gateway.
        gc.freeze()
        watching = asyncio.create_task(watch())
        began = time.perf_counter()
        answers = await asyncio.to_thread(lambda: asyncio.run(come(f"http://{host}:{port}")))
        took = time.perf_counter() - began
        watching.cancel()
        gc.unfreeze()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    stall, measure = max(stalls), a_measure_of_this_machine()
    figures = f"{took:.1f} s, longest stall {stall * 1000:.0f} ms ({stall / measure:.1f}), {grown:.0f} MB more"
    print(f"1,000 logins: {figures}")  # noqa: T201
    assert [answer.status_code for answer in answers[:300]] == [200] * 300
    refused = Counter(answer.status_code for answer in answers[300:])
    assert refused.keys() == {401, 429}
    assert refused[401] <= 51, "as many as one address may try"
    assert grown < 200
    assert stall < 20 * measure


async def test_when_too_many_wait_the_others_come_again(
    office: PostOffice, database_url: Callable[[str], str], sidecar: FakeSidecar
) -> None:
    settings = account_settings(
        database_url("gateway"),
        office,
        passwords=PasswordSettings(memory_kib=64, passes=1, at_once=1, waiting=5),
    )
    async with running(create_app(settings, sidecar)) as client:
        answers = await asyncio.gather(*(guest(client).log_in("a@example.org", WRONG) for _ in range(40)))
        counted = Counter(answer.status_code for answer in answers)
        assert counted.keys() == {401, 503}
        assert counted[401] >= 8
        busy = next(answer for answer in answers if answer.status_code == 503)
        assert (busy.headers["retry-after"], busy.json()["retryable"]) == ("2", True)


async def test_failures_are_written_down_for_whose_account_it_is(
    client: httpx2.AsyncClient, office: PostOffice, sidecar: FakeSidecar
) -> None:
    await member(client, office, "victim@example.org")
    thief = guest(client)
    await thief.log_in("victim@example.org", WRONG)
    await thief.log_in("nobody@example.org", WRONG)

    def lines() -> list[object]:
        return [event.data for event in sidecar.published_on("audit") if "login-failed" in str(event.data)]

    await until(lambda: len(lines()) == 1)
    assert thief.address in str(lines()[0])
    assert PASSWORD not in str(lines()[0])
    assert WRONG not in str(lines()[0])
