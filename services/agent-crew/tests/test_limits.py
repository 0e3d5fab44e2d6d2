"""Crews are bounded in number and time, and give back what they hold."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from crewmesh_agent_crew.kickoff.runner import CrewRunner
from crewmesh_agent_crew.settings import KickoffSettings

from .harness import Running, until


@pytest.fixture
def kickoff_settings() -> KickoffSettings:
    return KickoffSettings(most_running=2, most_waiting=1, timeout_seconds=1.5)


async def loaded(service: Running) -> None:
    """The time for a crew does not begin before CrewAI is loaded, but a test's patience does."""
    await until(lambda: service.resources.get(CrewRunner).why_not_ready() is None, seconds=60)


async def test_more_than_may_wait_are_told_when_to_come_again(service: Running) -> None:
    await loaded(service)
    service.model.delay = 0.2
    answers = await asyncio.gather(*(service.kickoff(str(i)) for i in range(6)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == 3
    assert sum(answer.status_code == 200 for answer in answers) == 3
    assert refused[0].headers["retry-after"] == "5"
    assert refused[0].json()["type"].endswith("/crews-busy")
    assert service.model.most_at_once <= 2


async def test_a_crew_that_takes_too_long_is_stopped_and_its_place_given_on(service: Running) -> None:
    await loaded(service)
    service.model.delay = 60
    started = time.monotonic()
    answers = await asyncio.gather(*(service.kickoff(str(i)) for i in range(2)))
    assert [answer.status_code for answer in answers] == [504, 504]
    assert time.monotonic() - started < 6
    await until(lambda: service.model.abandoned == 2)
    service.model.delay = 0
    assert (await service.kickoff("again")).status_code == 200


async def test_crews_work_beside_the_event_loop(service: Running) -> None:
    await loaded(service)
    service.model.delay = 0.3
    asked = asyncio.create_task(service.kickoff("q"))
    await until(lambda: bool(service.model.requests))
    assert any(thread.name.startswith("crew") for thread in threading.enumerate())
    assert (await service.client.get("/healthz")).status_code == 200
    assert not asked.done()
    assert (await asked).status_code == 200


async def test_readiness_waits_for_crewai(service: Running) -> None:
    await loaded(service)
    assert (await service.client.get("/readyz")).status_code == 200


async def test_stopping_ends_the_crews_at_work(service: Running) -> None:
    await loaded(service)
    service.model.delay = 60
    asked = asyncio.create_task(service.kickoff("q"))
    await until(lambda: bool(service.model.requests))
    service.resources.get(CrewRunner).stop()
    answer = await asked
    assert (answer.status_code, answer.json()["type"].rsplit("/")[-1]) == (503, "kickoff-stopped")
