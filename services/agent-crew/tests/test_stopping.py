"""Stopping: the connection to the model is closed, nothing further is asked, and the key stays stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import httpx2
import pytest
from crewmesh_agent_crew.crews.shipped import starter_crews
from crewmesh_agent_crew.settings import CrewRunSettings
from crewmesh_kit.ids import new_id
from crewmesh_testkit.openai_fake import OpenAiFake

from .conftest import replica
from .harness import Running, until

Asking = Callable[[Running, str], Coroutine[None, None, httpx2.Response]]


async def ask_model(service: Running, key: str) -> httpx2.Response:
    return await service.ask(key=key, prompt="Tell a very long story.")


async def ask_agent(service: Running, key: str) -> httpx2.Response:
    return await service.ask_agent(key=key, agent="writer", task="Tell a very long story.")


async def kickoff(service: Running, key: str) -> httpx2.Response:
    return await service.kickoff("Tell a very long story.", key=key)


def is_stopped(answer: httpx2.Response) -> bool:
    problem = answer.json()
    return (answer.status_code, problem["type"].rsplit("/")[-1], problem["retryable"]) == (409, "stopped", False)


@pytest.mark.parametrize("ask", [ask_model, ask_agent, kickoff])
class TestStop:
    async def test_the_request_to_the_model_is_broken_off_and_no_other_made(
        self, service: Running, ask: Asking
    ) -> None:
        service.model.delay = 60
        key = new_id("test")
        asked = asyncio.create_task(ask(service, key))
        await until(lambda: len(service.model.requests) == 1, seconds=300)
        assert await service.stop(key)
        await until(lambda: service.model.abandoned == 1)
        assert is_stopped(await asked)
        service.model.delay = 0
        assert is_stopped(await ask(service, key))
        assert len(service.model.requests) == 1

    async def test_work_that_comes_after_its_stop_does_not_begin(self, service: Running, ask: Asking) -> None:
        key = new_id("test")
        assert not await service.stop(key)
        assert is_stopped(await ask(service, key))
        assert service.model.requests == []

    async def test_what_is_done_stays_done(self, service: Running, ask: Asking) -> None:
        key = new_id("test")
        done = await ask(service, key)
        assert not await service.stop(key)
        assert (await ask(service, key)).json() == done.json()


async def test_a_stop_reaches_the_replica_that_works(
    crews_database: str, valkey: str, model: OpenAiFake, crew_run_settings: CrewRunSettings
) -> None:
    model.delay = 60
    organization, key = new_id("org"), new_id("test")
    async with (
        replica(crews_database, valkey, model, crew_run_settings, organization) as one,
        replica(crews_database, valkey, model, crew_run_settings, organization) as other,
    ):
        asked = asyncio.create_task(one.ask(key=key, prompt="x"))
        joined = asyncio.create_task(other.ask(key=key, prompt="x"))
        await until(lambda: len(model.requests) == 1)
        worker = other if await one.stop(key) else one  # which of the two got the key does not matter
        await until(lambda: model.abandoned == 1)
        assert is_stopped(await asked)
        assert is_stopped(await joined)
        again = new_id("test")
        asked = asyncio.create_task(one.ask(key=again, prompt="x"))
        await until(lambda: len(model.requests) == 2)
        assert not await other.stop(again)
        await until(lambda: model.abandoned == 2)
        assert is_stopped(await asked)
        assert worker.organization == organization


async def test_a_kickoff_that_waits_for_a_place_is_stopped_too(
    crews_database: str, valkey: str, model: OpenAiFake
) -> None:
    model.delay = 60
    organization, first, second = new_id("org"), new_id("test"), new_id("test")
    async with replica(crews_database, valkey, model, CrewRunSettings(share=1), organization) as service:
        await service.post("/v1/crews", starter_crews()[0].model_dump(mode="json"))
        at_work = asyncio.create_task(service.kickoff("q", key=first))
        await until(lambda: len(model.requests) == 1, seconds=300)
        waits = asyncio.create_task(service.kickoff("q", key=second))
        async with asyncio.timeout(60):
            while not (await service.get("/v1/crew-runs?status=queued")).json()["items"]:  # noqa: ASYNC110  a row's state
                await asyncio.sleep(0.01)
        assert await service.stop(second)
        assert await service.stop(first)
        assert is_stopped(await at_work)
        assert is_stopped(await waits)
        await until(lambda: model.abandoned == 1)
        assert len(model.requests) == 1


async def test_the_cost_of_a_kickoff_that_was_stopped_is_written_down(service: Running) -> None:
    def slow(_: object) -> str:
        service.model.delay = 60
        return "paid for"

    service.model.answers(slow)
    key = new_id("test")
    asked = asyncio.create_task(service.kickoff("q", key=key))
    await until(lambda: len(service.model.requests) == 2, seconds=300)
    await service.stop(key)
    assert is_stopped(await asked)
    (record,) = (await service.get("/v1/crew-runs")).json()["items"]
    assert (record["status"], record["usage"]["requests"]) == ("cancelled", 1)


async def test_another_organization_stops_nothing(service: Running) -> None:
    service.model.delay = 0.5
    key = new_id("test")
    asked = asyncio.create_task(service.ask(key=key, prompt="x"))
    await until(lambda: bool(service.model.requests))
    assert not await service.stop(key, who=service.who("crews:run", organization=new_id("org")))
    assert (await asked).status_code == 200


async def test_stopping_wants_its_permission(service: Running) -> None:
    answer = await service.post("/internal/stop", {"key": "k"}, who=service.who("models:run"))
    assert answer.status_code == 403
    assert (await service.post("/internal/stop", {"key": ""})).status_code == 422
