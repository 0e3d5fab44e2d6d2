"""A service that cannot be reached for a while: a pause to its callers and no error, and no crowd at its door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from crewmesh_gateway.main import create_app
from crewmesh_gateway.proxy import absences
from crewmesh_gateway.proxy.absences import Absences
from crewmesh_gateway.settings import ProxySettings, Settings
from crewmesh_kit.errors import Conflict, Unavailable
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, Seen, Upstream, until

LOST = '{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: workflow"}'


class Restarting:
    """A service that is missed so often before it answers."""

    def __init__(self, upstream: Upstream, times: int) -> None:
        self.asked: list[Seen] = []
        self._missed = times
        upstream.handler = self._handle

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append(Seen("", request.method, request.path_qs, request.headers.copy(), body))
        if len(self.asked) <= self._missed:
            return web.Response(status=500, text=LOST, content_type="application/json")
        return web.json_response({"asked": len(self.asked)})


@pytest.fixture
def patient(settings: Settings, sidecar: FakeSidecar) -> FastAPI:
    return create_app(settings.model_copy(update={"proxy": ProxySettings(absence_seconds=60)}), sidecar)


async def test_a_restart_is_a_pause_and_each_try_is_the_same_request(patient: FastAPI, upstream: Upstream) -> None:
    service = Restarting(upstream, times=3)
    async with running(patient) as client:
        answer = await client.post("/v1/events", headers=BEARER, json={"id": "1"})
    assert (answer.status_code, answer.json()) == (200, {"asked": 4})
    assert len({seen.body for seen in service.asked}) == 1
    assert len({seen.headers["idempotency-key"] for seen in service.asked}) == 1


async def test_an_answer_that_was_lost_on_its_way_is_asked_for_again(patient: FastAPI, upstream: Upstream) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        # What a sidecar makes of a service that dies in the middle.
        return web.Response(text="{}" if len(asked) > 1 else "", headers={"crewmesh-length": "2"})

    upstream.handler = handler
    async with running(patient) as client:
        answer = await client.get("/v1/runs", headers=BEARER)
    assert (answer.status_code, answer.text, len(asked)) == (200, "{}", 2)


async def test_what_streams_in_is_sent_once(patient: FastAPI, upstream: Upstream) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    service = Restarting(upstream, times=1)
    async with running(patient) as client:
        answer = await client.post("/v1/events", headers={**BEARER, "transfer-encoding": "chunked"}, content=body())
    assert (answer.status_code, len(service.asked)) == (503, 1)


async def test_who_finds_a_service_long_gone_is_told_at_once(
    settings: Settings, sidecar: FakeSidecar, upstream: Upstream
) -> None:
    # Shorter, and a machine that stands still between the two requests would have forgotten the first.
    quick = settings.model_copy(update={"proxy": ProxySettings(absence_seconds=5)})
    service = Restarting(upstream, times=10_000)
    async with running(create_app(quick, sidecar)) as client:
        assert (await client.get("/v1/runs", headers=BEARER)).status_code == 503
        assert len(service.asked) > 1
        before = len(service.asked)
        assert (await client.get("/v1/runs", headers=BEARER)).status_code == 503
        assert len(service.asked) == before + 1


async def test_after_a_time_without_requests_it_is_waited_for_anew() -> None:
    waiting, asked = Absences(0.3), 0

    async def attempt() -> None:
        nonlocal asked
        asked += 1
        raise Unavailable("It restarts.")

    async def is_waited_for() -> bool:
        """Not where this process stood still for longer than it waits."""
        nonlocal asked
        asked = 0
        with pytest.raises(Unavailable):
            await waiting.ask("workflow", attempt)
        return asked > 1

    await until(is_waited_for)

    async def is_waited_for_after_a_time() -> bool:
        await asyncio.sleep(0.4)
        return await is_waited_for()

    await until(is_waited_for_after_a_time)


async def test_a_crowd_asks_one_after_the_other() -> None:
    waiting = Absences(60)
    asked, enough, is_back = 0, asyncio.Event(), False

    async def attempt() -> None:
        nonlocal asked
        asked += 1
        if asked == 55:
            enough.set()
        if not is_back:
            raise Unavailable("It restarts.")
        waiting.found("workflow")

    began = time.monotonic()
    async with asyncio.TaskGroup() as crowd:
        for _ in range(50):
            crowd.create_task(waiting.ask("workflow", attempt))
        await enough.wait()
        # Five pauses; less what the two clocks may differ by.
        assert time.monotonic() - began > 4 * absences.PAUSE_SECONDS
        crowd.create_task(waiting.ask("workflow", attempt))
        before, is_back = asked, True
    assert asked == before + 51, "the first that finds it lets all others ask at once, also who came late"


async def test_one_service_is_not_waited_for_because_of_another() -> None:
    waiting, missed, answered = Absences(60), asyncio.Event(), False

    async def away() -> None:
        missed.set()
        assert not answered
        raise Unavailable("It restarts.")

    async def there() -> None:
        nonlocal answered
        answered = True

    waits = asyncio.create_task(waiting.ask("workflow", away))
    await missed.wait()
    await waiting.ask("knowledge", there)
    waits.cancel()
    assert answered


async def test_a_refusal_is_an_answer() -> None:
    asked = 0

    async def attempt() -> None:
        nonlocal asked
        asked += 1
        raise Conflict("It is so already.")

    with pytest.raises(Conflict):
        await Absences(60).ask("workflow", attempt)
    assert asked == 1
