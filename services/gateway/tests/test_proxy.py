"""What passes the gateway, what stays outside, and what is made of failures behind it."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from crewmesh_gateway.main import create_app
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS, PUBLIC_RESOURCES, VERBS
from crewmesh_gateway.settings import ProxySettings, Settings
from crewmesh_kit.identity import TokenVerifier
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, Upstream

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("resource", "owner"), [(resource, owner) for resource, owner in OWNERS.items() if resource not in PUBLIC_RESOURCES]
)
async def test_each_resource_reaches_its_owner_with_a_token_for_it(
    app: FastAPI, sidecar: FakeSidecar, upstream: Upstream, resource: str, owner: str
) -> None:
    async with running(app) as client:
        verb = VERBS[resource][0]
        answer = await client.request(verb, f"/v1/{resource}/x%20y?cursor=a%2Fb&limit=1", headers=BEARER)
        me = (await client.get("/v1/me", headers=BEARER)).json()
    assert answer.json() == {"from": owner}
    (seen,) = upstream.seen
    assert (seen.app, seen.method, seen.path_and_query) == (owner, verb, f"/v1/{resource}/x%20y?cursor=a%2Fb&limit=1")
    token = seen.headers["authorization"].removeprefix("Bearer ")
    identity = TokenVerifier(await sidecar.secret("identity-keys"), audience=owner).verify(token)
    assert (identity.organization, identity.subject) == (me["organization"]["id"], me["key"]["id"])
    assert identity.permissions == {"*"}


async def test_only_what_services_understand_goes_in(app: FastAPI, upstream: Upstream) -> None:
    kept = {
        "accept": "text/event-stream",
        "content-type": "application/cloudevents+json",
        "idempotency-key": "k1",
        "if-match": '"3"',
        "last-event-id": "7",
        "ce-id": "1",
        "x-request-id": "r1",
    }
    stripped = {
        "cookie": "session=1",
        "x-api-key": "cm_x_y",
        "dapr-app-id": "knowledge",
        "dapr-api-token": "guess",
        "dapr-caller-app-id": "workflow",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "evil.test",
        "forwarded": "for=127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "connection": "keep-alive, x-secret",
        "te": "trailers",
        "proxy-authorization": "Basic x",
        "x-organization": "org_2",
    }
    async with running(app) as client:
        await client.post("/v1/events", headers={**BEARER, **kept, **stripped}, content=b"{}")
    (seen,) = upstream.seen
    headers = {name.lower(): value for name, value in seen.headers.items()}
    assert kept.items() <= headers.items()
    assert not stripped.items() & headers.items()
    assert not {name for name in headers if name.startswith(("dapr-", "x-forwarded", "x-real", "x-org"))}
    assert seen.body == b"{}"


async def test_a_mutation_without_a_key_gets_one(app: FastAPI, upstream: Upstream) -> None:
    """Sidecars repeat a request whose connection was lost; under a key the repetition has no second effect."""
    async with running(app) as client:
        for method in ("POST", "POST", "DELETE", "GET"):
            await client.request(method, "/v1/workflows", headers=BEARER)
    first, second, deletion, reading = (seen.headers.get("idempotency-key") for seen in upstream.seen)
    assert first is not None
    assert second is not None
    assert deletion is not None
    assert first != second
    assert reading is None


async def test_the_trace_goes_on_or_starts_here(app: FastAPI, upstream: Upstream) -> None:
    async with running(app) as client:
        await client.get("/v1/runs", headers={**BEARER, "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        await client.get("/v1/runs", headers=BEARER)
    first, second = (seen.headers["traceparent"] for seen in upstream.seen)
    assert first.split("-")[1] == TRACE
    assert first.split("-")[2] != "b7ad6b7169203331", "the gateway's own span is the parent"
    assert second.split("-")[1] not in (TRACE, "0" * 32)


async def test_answers_come_back_as_they_are(app: FastAPI, upstream: Upstream) -> None:
    async def handler(_: web.Request) -> web.Response:
        headers = {"ETag": '"4"', "Location": "http://127.0.0.1:8081/v1/workflows/wf_1", "Retry-After": "3"}
        more = {"Server": "secret/1", "Set-Cookie": "a=b", "dapr-x": "y", "traceparent": "x", "X-Custom": "kept"}
        return web.json_response({"id": "wf_1"}, status=201, headers=headers | more)

    upstream.handler = handler
    async with running(app) as client:
        answer = await client.post("/v1/workflows", headers=BEARER, json={})
    assert (answer.status_code, answer.json()) == (201, {"id": "wf_1"})
    assert (answer.headers["etag"], answer.headers["retry-after"]) == ('"4"', "3")
    assert answer.headers["location"] == "/v1/workflows/wf_1"
    assert answer.headers["x-custom"] == "kept"
    assert not {"set-cookie", "dapr-x", "traceparent"} & set(answer.headers)
    assert "secret" not in answer.headers.get("server", "")


async def test_problems_of_services_are_passed_on_unchanged(app: FastAPI, upstream: Upstream) -> None:
    problem = {"type": "https://crewmesh.dev/problems/conflict", "status": 409, "detail": "Read it again.", "x": [1]}

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=409, body=json.dumps(problem).encode(), content_type="application/problem+json")

    upstream.handler = handler
    async with running(app) as client:
        answer = await client.put("/v1/workflows/wf_1", headers=BEARER, json={})
    assert (answer.status_code, answer.json()) == (409, problem)
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    ("status", "body", "told", "slug"),
    [
        (500, {"errorCode": "ERR_DIRECT_INVOKE", "message": "failed to invoke, id: workflow"}, 503, "unavailable"),
        (403, {"errorCode": "ERR_DIRECT_INVOKE", "message": "access control"}, 502, "upstream-failed"),
        (500, "Internal Server Error", 500, "upstream-failed"),
        (404, {"detail": "Not Found"}, 404, "upstream-failed"),
    ],
)
async def test_what_is_no_problem_document_becomes_one(
    app: FastAPI, upstream: Upstream, status: int, body: object, told: int, slug: str
) -> None:
    async def handler(_: web.Request) -> web.Response:
        content = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
        return web.Response(status=status, text=content, content_type="application/json")

    upstream.handler = handler
    async with running(app) as client:
        answer = await client.get("/v1/runs", headers=BEARER)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (told, slug)
    assert "workflow" in answer.json()["detail"] or answer.json()["detail"] == "Not Found"
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.headers.get("retry-after") is not None) == (told == 503)


async def test_a_service_that_is_down_is_named(app: FastAPI, sidecar: FakeSidecar) -> None:
    sidecar.forward_to("knowledge", "http://127.0.0.1:9")
    async with running(app) as client:
        answer = await client.get("/v1/knowledge-bases", headers=BEARER)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["service"] == "knowledge"
    assert answer.json()["retryable"]
    assert "Repeat" in answer.json()["detail"]


async def test_a_service_that_is_silent_is_not_waited_for_for_ever(
    settings: Settings, sidecar: FakeSidecar, upstream: Upstream
) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    upstream.handler = handler
    quick = settings.model_copy(update={"proxy": ProxySettings(first_byte_seconds=0.2)})
    async with running(create_app(quick, sidecar)) as client:
        answer = await client.get("/v1/runs", headers=BEARER)
    assert answer.status_code == 504
    assert "workflow" in answer.json()["detail"]


async def test_an_unknown_resource_lists_what_there_is(app: FastAPI, upstream: Upstream) -> None:
    async with running(app) as client:
        answer = await client.get("/v1/nothing", headers=BEARER)
    assert answer.status_code == 404
    assert answer.json()["resources"] == sorted(f"/v1/{resource}" for resource in [*OWNERS, *OWN_RESOURCES])
    assert upstream.seen == []


async def test_only_the_methods_of_a_resource_go_in(app: FastAPI, upstream: Upstream) -> None:
    """Its sidecar would refuse the others, and could not say what there is instead."""
    async with running(app) as client:
        for method in ("GET", "POST", "DELETE"):
            assert (await client.request(method, "/v1/runs", headers=BEARER)).status_code == 200
        for method in ("PUT", "PATCH", "OPTIONS", "HEAD", "TRACE"):
            refused = await client.request(method, "/v1/runs/x", headers=BEARER)
            assert refused.status_code == 405
            assert method == "TRACE" or refused.headers["allow"] == "GET, POST, DELETE"
        assert (await client.request("PATCH", "/v1/runs")).status_code == 401
        assert (await client.post("/v1/me", headers=BEARER)).status_code == 405
    assert [seen.method for seen in upstream.seen] == ["GET", "POST", "DELETE"]


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_have_none(app: FastAPI, upstream: Upstream, status: int) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"ETag": '"1"'})

    upstream.handler = handler
    async with running(app) as client:
        answer = await client.get("/v1/runs", headers=BEARER)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (status, b"", '"1"')


async def test_requests_are_counted_by_resource_never_by_path(app: FastAPI) -> None:
    async with running(app) as client:
        await client.get("/v1/deliveries/dlv_secret", headers=BEARER)
        await client.get("/v1/no-such-thing-here", headers=BEARER)
        metrics = (await client.get("/metrics")).text
    assert 'crewmesh_http_requests_total{method="GET",route="/v1/deliveries/{path}",status="200"}' in metrics
    assert 'route="/v1/{resource}",status="404"' in metrics
    assert "dlv_secret" not in metrics
    assert "no-such-thing" not in metrics
