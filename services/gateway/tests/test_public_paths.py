"""Webhooks and links: open to who knows the address, closed to guessing, and nobody's account goes in with them."""

from __future__ import annotations

import pytest
from aiohttp import web
from crewmesh_gateway.main import create_app
from crewmesh_gateway.proxy.routing import PUBLIC_RESOURCES
from crewmesh_gateway.settings import ProxySettings, Settings, ThrottleSettings
from crewmesh_kit.http.middleware import LENGTH_HEADER
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, Upstream


@pytest.mark.parametrize("resource", sorted(PUBLIC_RESOURCES))
async def test_they_need_no_key_and_go_in_without_an_identity(app: FastAPI, upstream: Upstream, resource: str) -> None:
    async with running(app) as client:
        answer = await client.get(f"/v1/{resource}/t0ken?a=b%20c&a=d")
    assert answer.json() == {"from": "workflow"}
    (seen,) = upstream.seen
    assert seen.path_and_query == f"/v1/{resource}/t0ken?a=b%20c&a=d"
    assert "authorization" not in seen.headers


async def test_what_a_sender_signed_arrives_byte_for_byte_with_its_headers(app: FastAPI, upstream: Upstream) -> None:
    body = b'{"a" :  1,\n"b": "\xc3\xa9"}\x00\xff'
    headers = {
        "webhook-id": "msg_1",
        "webhook-signature": "v1,x",
        "x-hub-signature-256": "sha256=x",
        "x-github-event": "push",
        "content-type": "application/json",
        "user-agent": "sender/1",
    }
    async with running(app) as client:
        for method in ("POST", "PUT", "PATCH", "DELETE", "GET"):
            await client.request(method, "/v1/hooks/t0ken", headers=headers, content=body)
    assert [seen.method for seen in upstream.seen] == ["POST", "PUT", "PATCH", "DELETE", "GET"]
    assert all(seen.body == body for seen in upstream.seen)
    assert all(
        headers.items() <= {name.lower(): value for name, value in seen.headers.items()}.items()
        for seen in upstream.seen
    )
    keys = {seen.headers["idempotency-key"] for seen in upstream.seen}
    assert len(keys) == 5, "sidecars repeat lost requests; each is one occurrence under its key"


async def test_no_account_and_no_claim_goes_in(app: FastAPI, upstream: Upstream) -> None:
    stripped = {
        "cookie": "session=1",
        "x-api-key": "cm_x_y",
        "dapr-app-id": "knowledge",
        "dapr-api-token": "guess",
        "crewmesh-length": "3",
        "x-forwarded-for": "127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "x-hop": "1",
        "connection": "keep-alive, x-hop",
        "proxy-authorization": "Basic x",
        "traceparent": "x",
    }
    async with running(app) as client:
        await client.post("/v1/hooks/t0ken", headers={**stripped, **BEARER})
        await client.post("/v1/hooks/t0ken", headers={"authorization": "Basic ZGFwci1hcHAtaWQ6eA=="})
    with_key, with_basic = upstream.seen
    headers = {name.lower(): value for name, value in with_key.headers.items()}
    assert not stripped.items() & headers.items()
    assert not {"authorization", "crewmesh-authorization"} & set(headers)
    assert "authorization" not in with_basic.headers, "a sidecar would take the user for the callee"
    assert with_basic.headers["crewmesh-authorization"] == "Basic ZGFwci1hcHAtaWQ6eA=="


async def test_guessing_addresses_gets_slow_and_good_ones_stay_quick(
    settings: Settings, sidecar: FakeSidecar, upstream: Upstream
) -> None:
    async def handler(request: web.Request) -> web.Response:
        if "good" in request.path:
            return web.json_response({}, status=202)
        body = b'{"status": 404, "type": "https://crewmesh.dev/problems/no-such-hook", "detail": "No such hook."}'
        return web.Response(status=404, body=body, content_type="application/problem+json")

    upstream.handler = handler
    strict = settings.model_copy(update={"throttle": ThrottleSettings(burst=3, per_second=0.001)})
    async with running(create_app(strict, sidecar)) as client:
        assert (await client.post("/v1/hooks/good")).status_code == 202
        assert [(await client.post(f"/v1/hooks/{guess}")).status_code for guess in range(5)] == [404] * 3 + [429] * 2
        assert (await client.post("/v1/hooks/good")).status_code == 202
        refused = await client.post("/v1/hooks/other")
    assert refused.json()["type"].endswith("/too-many-guesses")
    assert refused.headers["retry-after"]


async def test_a_page_that_says_that_there_is_nothing_is_a_guess_too(
    settings: Settings, sidecar: FakeSidecar, upstream: Upstream
) -> None:
    async def handler(_: web.Request) -> web.Response:
        page = b"<h1>This link cannot be used</h1>"
        return web.Response(status=404, body=page, content_type="text/html", headers={LENGTH_HEADER: str(len(page))})

    upstream.handler = handler
    strict = settings.model_copy(update={"throttle": ThrottleSettings(burst=1, per_second=0.001)})
    async with running(create_app(strict, sidecar)) as client:
        answers = [(await client.get(f"/v1/approval-links/{n}")).status_code for n in range(2)]
    assert answers == [404, 429]


@pytest.mark.parametrize("content_type", ["application/json", "application/problem+json"])
async def test_a_workflow_that_answers_404_is_no_guess(
    settings: Settings, sidecar: FakeSidecar, upstream: Upstream, content_type: str
) -> None:
    async def handler(_: web.Request) -> web.Response:
        body = b'{"detail": "no such order"}'
        headers = {"x-crewmesh-run": "run_1", LENGTH_HEADER: str(len(body))}
        return web.Response(status=404, body=body, content_type=content_type, headers=headers)

    upstream.handler = handler
    strict = settings.model_copy(update={"throttle": ThrottleSettings(burst=1, per_second=0.001)})
    async with running(create_app(strict, sidecar)) as client:
        assert {(await client.get(f"/v1/hooks/{n}")).status_code for n in range(3)} == {404}


async def test_what_a_workflow_answers_passes_as_it_is_and_once(
    settings: Settings, sidecar: FakeSidecar, upstream: Upstream
) -> None:
    said = [
        (400, "application/json", b'{"error":"bad"}'),
        (404, "text/plain", b"nope"),
        (418, "text/html", b"<h1>I'm a teapot</h1>"),
        (422, "text/plain", b"x" * 100_000),
        (500, "text/plain", b""),
        (503, "application/json", b'{"error":"busy"}'),
        # What a sidecar says of a service that is gone. Here it is a workflow that says it.
        (500, "application/json", b'{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke"}'),
    ]
    asked: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        which = int(request.path.rsplit("/", 1)[1])
        asked.append(which)
        status, content_type, body = said[which]
        headers = {"x-custom": "kept", "x-crewmesh-run": "run_1", LENGTH_HEADER: str(len(body))}
        return web.Response(status=status, body=body, content_type=content_type, headers=headers)

    upstream.handler = handler
    patient = settings.model_copy(update={"proxy": ProxySettings(absence_seconds=1)})
    async with running(create_app(patient, sidecar)) as client:
        answers = [await client.post(f"/v1/hooks/{which}", json={}) for which in range(len(said))]
    assert [(each.status_code, each.headers["content-type"], each.content) for each in answers] == said
    assert all((each.headers["x-custom"], each.headers["x-crewmesh-run"]) == ("kept", "run_1") for each in answers)
    assert not any(LENGTH_HEADER in each.headers for each in answers)
    assert asked == [*range(len(said))]
