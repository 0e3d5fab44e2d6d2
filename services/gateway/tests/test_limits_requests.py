"""Rate limits as a client meets them: headers, refusals, and whose requests they concern."""

from __future__ import annotations

import asyncio
import re
from itertools import count

import pytest
from aiohttp import web
from crewmesh_gateway.limits.layer import is_open_to_strangers
from crewmesh_gateway.limits.plans import PLANS
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import LimitSettings, Settings
from crewmesh_kit.http.access import declared_access
from crewmesh_kit.identity import Public
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx2 import Response

from .clocks import Clock
from .credentials import another_organization, member
from .gateway import BEARER, Upstream, until
from .inside import change

FREE = PLANS["free"]
_LIMIT = re.compile(r'"([a-z-]+)";r=(\d+);t=(\d+)')
# Valkey remembers what former tests counted: each has an hour of its own.
_hours = count(1)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The limits' time: it stands still unless the test moves it."""
    clock = Clock(wall=1_800_000_000.0 + 3600 * next(_hours))
    monkeypatch.setattr("crewmesh_gateway.limits.lifetime.SharedClock", clock.agreed)
    # An exchange that took too long is given up, with what it told.
    monkeypatch.setattr("crewmesh_gateway.limits.exchange._CALL_SECONDS", 60.0)
    return clock


@pytest.fixture
def free(settings: Settings, sidecar: FakeSidecar) -> FastAPI:
    limits = LimitSettings(default_plan="free", address_per_second=20)
    return create_app(settings.model_copy(update={"limits": limits}), sidecar)


def told(answer: Response) -> dict[str, tuple[int, int]]:
    return {name: (int(left), int(seconds)) for name, left, seconds in _LIMIT.findall(answer.headers["ratelimit"])}


async def test_every_answer_says_what_is_left(free: FastAPI) -> None:
    async with running(free) as client:
        first = await client.get("/v1/me", headers=BEARER)
        second = await client.get("/v1/runs", headers=BEARER)
        missing = await client.get("/v1/me/nothing", headers=BEARER)
    policy = '"organization";q=600;w=60, "organization-burst";q=60;w=1, "key";q=300;w=60, "key-burst";q=30;w=1'
    assert first.headers["ratelimit-policy"] == second.headers["ratelimit-policy"] == policy
    assert (told(first)["organization"][0], told(first)["key"][0]) == (599, 299)
    assert (told(second)["organization"][0], told(second)["key"][0]) == (598, 298), "proxied ones count as well"
    assert 58 <= told(second)["key"][1] <= 62
    assert "ratelimit" not in missing.headers, "what is nowhere costs nobody anything"


async def test_a_refusal_names_the_limit_and_says_when_and_how(free: FastAPI, clock: Clock, upstream: Upstream) -> None:
    async with running(free) as client:
        answers = [await client.get("/v1/runs", headers=BEARER) for _ in range(FREE.credential.per_second + 20)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) == 20, "a key may not burst that much"
        assert len(upstream.seen) == FREE.credential.per_second, "refused requests reach no service"
        problem = refused[0].json()
        assert problem["type"].endswith("/rate-limited")
        assert (problem["limit"], problem["quota"], problem["window_seconds"]) == ("key", 30, 1)
        assert problem["violated-policies"] == ["key-burst"]
        assert problem["retryable"] is True
        assert "30 requests per second" in problem["detail"]
        assert "greater plan" in problem["detail"]
        wait = int(refused[0].headers["retry-after"])
        assert told(refused[0])["key-burst"] == (0, wait), "the header says the same"
        clock.monotonic += wait
        assert (await client.get("/v1/runs", headers=BEARER)).status_code == 200, "and it was true"


async def test_ten_times_too_much_of_one_organization_concerns_no_other(free: FastAPI, upstream: Upstream) -> None:
    go_on, reached = asyncio.Event(), 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal reached
        if "flood" in request.query:
            reached += 1
            await go_on.wait()
        return web.json_response({})

    upstream.handler = handler
    async with running(free) as client:
        headers = (await member(free, "owner", organization=await another_organization(free))).headers

        async def flood() -> list[int]:
            requests = (client.get("/v1/runs?flood", headers=BEARER) for _ in range(FREE.organization.per_second * 10))
            return [answer.status_code for answer in await asyncio.gather(*requests)]

        flooding = asyncio.create_task(flood())
        await until(lambda: reached == FREE.credential.per_second)
        for number in range(20):
            answer = await client.get("/v1/runs", headers=headers)
            assert answer.status_code == 200
            assert told(answer)["organization"][0] == 600 - 1 - number
        assert not flooding.done(), "nobody waits in line behind the flood"
        go_on.set()
        statuses = await flooding
    assert statuses.count(200) == FREE.credential.per_second
    assert statuses.count(429) == len(statuses) - FREE.credential.per_second


async def test_strangers_count_by_address_and_are_told_so(free: FastAPI, upstream: Upstream) -> None:
    async with running(free) as client:
        first = await client.post("/v1/hooks/t0ken")
        assert first.headers["ratelimit-policy"] == '"address";q=60000;w=60, "address-burst";q=20;w=1'
        assert told(first)["address"][0] == 59_999
        answers = [await client.post("/v1/hooks/t0ken") for _ in range(40)]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["limit"] == "address"
        assert "CREWMESH_LIMITS__ADDRESS_PER_SECOND" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert len(upstream.seen) == 20
        assert (await client.get("/v1/me", headers=BEARER)).status_code == 200, "who is known is not a stranger"


async def test_wrong_credentials_count_by_address_too(free: FastAPI) -> None:
    async with running(free) as client:
        answers = [await client.get("/v1/runs") for _ in range(40)]
        assert {answer.status_code for answer in answers} == {401, 429}
        assert answers[0].headers["ratelimit-policy"].startswith('"address"')
        assert next(answer.json()["limit"] for answer in answers if answer.status_code == 429) == "address"


async def test_claims_about_the_address_do_not_help(free: FastAPI) -> None:
    claims = ("x-real-ip", "x-forwarded-for", "crewmesh-client-address")
    async with running(free) as client:
        statuses = {
            (await client.post("/v1/hooks/t0ken", headers=dict.fromkeys(claims, f"192.0.2.{n}"))).status_code
            for n in range(60)
        }
    assert 429 in statuses


async def test_the_plan_of_the_organization_decides(app: FastAPI) -> None:
    async with running(app) as client:
        generous = await client.get("/v1/me", headers=BEARER)
        assert '"organization";q=600000;w=60' in generous.headers["ratelimit-policy"]
        await change(app, "UPDATE organizations SET plan = 'pro'")
        async with running(app) as again:
            answer = await again.get("/v1/me", headers=BEARER)
            assert '"organization";q=6000;w=60' in answer.headers["ratelimit-policy"]


async def test_two_gateways_know_of_each_other(settings: Settings, sidecar: FakeSidecar) -> None:
    limited = settings.model_copy(update={"limits": LimitSettings(default_plan="free", exchange_seconds=0.02)})
    async with running(create_app(limited, sidecar)) as one, running(create_app(limited, sidecar)) as other:
        for _ in range(10):
            assert (await one.get("/v1/me", headers=BEARER)).status_code == 200
        asked = 0

        async def is_told() -> bool:
            nonlocal asked
            answer = await other.get("/v1/me", headers=BEARER)
            asked += answer.status_code == 200
            return told(answer)["key"][0] == FREE.credential.per_minute - 10 - asked

        await until(is_told)


async def test_without_valkey_requests_are_answered_and_counted(settings: Settings, sidecar: FakeSidecar) -> None:
    sidecar.secrets["redis-url"] = "redis://127.0.0.1:1/0"
    limited = settings.model_copy(update={"limits": LimitSettings(default_plan="free", exchange_seconds=0.01)})
    async with running(create_app(limited, sidecar)) as client:
        answers = [await client.get("/v1/me", headers=BEARER) for _ in range(FREE.credential.per_second + 20)]
    assert {answer.status_code for answer in answers} == {200, 429}


async def test_every_route_that_needs_no_credential_counts_strangers(app: FastAPI) -> None:
    async with running(app):
        open_routes = [
            route.path or ""
            for route in iter_route_contexts(app.routes)
            if (route.path or "").startswith("/v1/")
            and all(isinstance(access, Public) for access in declared_access(route))
        ]
    assert open_routes, "logins and webhooks at least"
    assert [path for path in open_routes if not is_open_to_strangers(path)] == []
