"""What strangers try at the edge, through real sidecars: none of it chooses a callee, an address or a way around."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping

import aiohttp
import pytest
from aiohttp import web
from crewmesh_testkit.mesh import MeshClient
from yarl import URL

from tests.edge.configuration import FILE
from tests.edge.edge import Edge
from tests.mesh.test_the_one_path import ask

from .conftest import ORIGIN, MeshBehindTheEdge

JSON = {"content-type": "application/json"}
SAID_BY_THE_EDGE = (
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
    "x-request-id",
)


async def said(
    mesh: MeshBehindTheEdge, method: str, path: str, headers: Mapping[str, str] | None = None, body: object = None
) -> tuple[int, Mapping[str, str], str]:
    """Status, headers and text, without a credential of our own. The path goes out as it is written."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, URL(mesh.edge.url + path, encoded=True), headers=headers, data=body, allow_redirects=False
        ) as answer,
    ):
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.text()


def key_of(mesh: MeshBehindTheEdge, scheme: str = "Bearer") -> dict[str, str]:
    return {"authorization": f"{scheme} {mesh.credentials.api_key}"}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/.well-known/jwks.json"])
async def test_the_description_is_there_for_everybody(mesh: MeshBehindTheEdge, path: str) -> None:
    status, headers, text = await said(mesh, "GET", path)
    assert status == 200, text
    assert set(SAID_BY_THE_EDGE) <= set(headers)
    if path == "/docs":
        assert "style-src" in headers["content-security-policy"], "the page's own, or it would be bare"


@pytest.mark.parametrize(
    "path", ["/metrics", "/healthz", "/internal/openapi.json", "/v1.0/invoke/workflow/method/v1/runs", "/app/", "/x"]
)
async def test_what_is_not_public_is_nowhere(mesh: MeshBehindTheEdge, path: str) -> None:
    for method in ("GET", "POST", "PROPFIND"):
        status, headers, text = await said(mesh, method, path)
        assert (status, json.loads(text)["status"]) == (404, 404)
        assert headers["content-type"] == "application/problem+json"
        assert set(SAID_BY_THE_EDGE) <= set(headers)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_key_opens_by_either_header(mesh: MeshBehindTheEdge, header: str) -> None:
    shown = key_of(mesh) if header == "authorization" else {"x-api-key": mesh.credentials.api_key}
    status, headers, text = await said(mesh, "GET", "/v1/me", shown)
    assert status == 200, text
    assert set(SAID_BY_THE_EDGE) <= set(headers)
    assert "server" not in headers or "uvicorn" not in headers["server"]


@pytest.mark.parametrize(
    "spoofed",
    [
        {"dapr-app-id": "workflow"},
        {"dapr_app_id": "workflow"},
        {"Dapr-App-Id": "integration", "dapr-api-token": "guess"},
        {"x-original-url": "/internal/openapi.json", "x-rewrite-url": "/internal/openapi.json"},
        {"x-forwarded-path": "/internal/openapi.json", "x-forwarded-prefix": "/internal", "x-forwarded-host": "evil"},
        {"connection": "keep-alive, authorization, dapr-api-token"},
        {"upgrade": "h2c", "connection": "upgrade, http2-settings", "http2-settings": "AAMAAABkAAQAAP__"},
    ],
)
async def test_no_header_leads_anywhere_else(mesh: MeshBehindTheEdge, spoofed: dict[str, str]) -> None:
    status, _, text = await said(mesh, "GET", "/v1/me", {**key_of(mesh), **spoofed})
    assert status == 200, text
    assert json.loads(text)["organization"]["id"] == mesh.itself.organization


@pytest.mark.parametrize("user", ["dapr-app-id", "dapr-app-id:workflow", "workflow"])
async def test_the_user_of_basic_authentication_is_no_callee(mesh: MeshBehindTheEdge, user: str) -> None:
    basic = {"authorization": "Basic " + b64encode(f"{user}:knowledge".encode()).decode()}
    status, _, text = await said(mesh, "GET", "/v1/knowledge-bases", basic)
    assert status == 401, text
    assert json.loads(text)["type"].endswith("/unauthenticated")


async def test_a_client_has_the_address_the_edge_saw(mesh: MeshBehindTheEdge) -> None:
    """Wrong keys are counted by address: whoever claims another address is not counted as that one."""
    wrong = {"authorization": "Bearer cm_unknown_" + "0" * 43}
    victim, guesser = "203.0.113.77", "203.0.113.78"
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < 250:
        claimed = f"198.51.100.{len(statuses)}"
        told = {"x-forwarded-for": f"{claimed}, {guesser}", "x-real-ip": victim, "forwarded": f"for={victim}"}
        statuses.append((await said(mesh, "GET", "/v1/me", {**wrong, **told}))[0])
    assert statuses[0] == 401
    assert statuses[-1] == 429, "another claim each time, and still one address"
    assert (await said(mesh, "GET", "/v1/me", {**wrong, "x-forwarded-for": victim}))[0] == 401
    # The same address on the way that passes no sidecar, and not the edge's own: a few more tries are soon too many,
    # which they would not be for somebody new.
    stream = "/v1/runs/run_0123/events"
    statuses = [(await said(mesh, "GET", stream, {**wrong, "x-forwarded-for": guesser}))[0] for _ in range(10)]
    assert 429 in statuses
    assert (await said(mesh, "GET", stream, {**wrong, "x-forwarded-for": victim}))[0] == 401


@pytest.mark.parametrize("text", ["nonsense", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"])
async def test_a_malformed_credential_ends_at_the_edge(mesh: MeshBehindTheEdge, text: str) -> None:
    for path in ("/v1/me", "/v1/runs/run_0123/events"):
        status, headers, body = await said(mesh, "GET", path, {"authorization": f"Bearer {text}"})
        assert status == 401, body
        assert headers["www-authenticate"].startswith("Bearer")
        assert "ratelimit-remaining" in headers, "who tries many is counted all the same"


async def test_bodies_are_bounded(mesh: MeshBehindTheEdge) -> None:
    large = b'{"data": "' + b"x" * 5_000_000 + b'"}'
    status, headers, text = await said(mesh, "POST", "/v1/events", {**key_of(mesh), **JSON}, large)
    assert (status, headers["content-type"]) == (413, "application/problem+json"), text

    async def in_pieces() -> object:
        for start in range(0, len(large), 500_000):
            yield large[start : start + 500_000]

    status, _, text = await said(mesh, "POST", "/v1/events", {**key_of(mesh), **JSON}, in_pieces())
    assert status == 413, text
    status, _, text = await said(mesh, "POST", "/v1/auth/login", JSON, b'{"x": "' + b"x" * 70_000 + b'"}')
    assert status == 413, text
    status, _, text = await said(mesh, "POST", "/v1/auth/login", JSON, in_pieces())
    assert status == 411, text


async def test_pages_of_other_origins_are_let_in_by_name_only(mesh: MeshBehindTheEdge) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for path in ("/v1/events", "/v1/auth/login", "/v1/runs/run_1/events"):
        status, headers, _ = await said(mesh, "OPTIONS", path, {"origin": ORIGIN, **asked})
        assert (status, headers["access-control-allow-origin"]) == (204, ORIGIN)
        assert headers["access-control-allow-credentials"] == "true"
        status, headers, _ = await said(mesh, "OPTIONS", path, {"origin": "https://evil.example", **asked})
        assert status == 403
        assert "access-control-allow-origin" not in headers
    for origin, answered in {ORIGIN: ORIGIN, "https://evil.example": None, "null": None}.items():
        _, headers, _ = await said(mesh, "GET", "/v1/me", {"origin": origin, **key_of(mesh)})
        assert headers.get("access-control-allow-origin") == answered
        assert "Origin" in headers["vary"]


async def test_each_kind_is_limited_alone(mesh: MeshBehindTheEdge) -> None:
    mesh.edge.plugins.now = lambda: 1_790_000_000.0  # all in one second
    statuses = [(await said(mesh, "GET", "/nothing-here"))[0] for _ in range(12)]
    assert statuses == [404] * 10 + [429] * 2
    _, headers, text = await said(mesh, "GET", "/nothing-here")
    assert headers["content-type"] == "application/problem+json", text
    assert int(headers["retry-after"]) >= 1
    assert (await said(mesh, "GET", "/v1/me", key_of(mesh)))[0] == 200
    elsewhere = {"x-forwarded-for": "203.0.113.5"}
    assert (await said(mesh, "GET", "/nothing-here", elsewhere))[0] == 404


async def test_a_request_has_one_id_on_its_whole_way(mesh: MeshBehindTheEdge) -> None:
    _, headers, _ = await said(mesh, "GET", "/v1/me", {**key_of(mesh), "x-request-id": "mine-1"})
    assert headers["x-request-id"] == "mine-1"
    _, headers, _ = await said(mesh, "GET", "/v1/me", {**key_of(mesh), "x-request-id": 'a"b'})
    assert len(headers["x-request-id"]) == 36


async def test_kongs_sidecar_may_call_the_gateway_and_nobody_else(mesh: MeshBehindTheEdge) -> None:
    token = {"dapr-api-token": mesh.edge.environment["DAPR_API_TOKEN"]}
    base = f"http://127.0.0.1:{mesh.sidecar_port}"
    async with aiohttp.ClientSession(headers=token) as session:
        async with session.get(f"{base}/v1.0/invoke/gateway/method/v1/me") as answer:
            assert answer.status == 401
        for app, path in {
            "workflow": "v1/runs",
            "knowledge": "internal/search",
            "integration": "v1/deliveries",
        }.items():
            async with session.get(f"{base}/v1.0/invoke/{app}/method/{path}") as answer:
                assert answer.status == 403, await answer.text()
        for path in (
            "internal/openapi.json",
            "dapr/subscribe",
            "subscriptions/x",
            "metrics",
            "healthz",
            "v1/../metrics",
        ):
            async with session.get(URL(f"{base}/v1.0/invoke/gateway/method/{path}", encoded=True)) as answer:
                assert answer.status in (400, 403, 404), path
        for path in ("/v1.0/secrets/secretstore/redis-url", "/v1.0/state/statestore/x", "/v1.0/publish/pubsub/events"):
            async with session.get(base + path) as answer:
                assert answer.status in (403, 404, 405), path
    async with aiohttp.ClientSession() as session, session.get(f"{base}/v1.0/invoke/gateway/method/v1/me") as answer:
        assert answer.status == 401


async def test_events_arrive_while_they_happen(mesh: MeshBehindTheEdge) -> None:
    async with MeshClient(mesh.edge.url, mesh.credentials.api_key) as client:
        run = await ask(client)
        url = f"{mesh.edge.url}/v1/runs/{run}/events"
        async with aiohttp.ClientSession(headers=key_of(mesh)) as session, session.get(url) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            first = await asyncio.wait_for(answer.content.readline(), 60)
    assert first


async def test_a_socket_is_carried_where_streams_go(mesh: MeshBehindTheEdge) -> None:
    """The gateway has none yet, so an echo stands in its place; elsewhere an upgrade is a request like others."""

    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.headers['x-real-ip']} {message.data}")
        return socket

    runner = web.ServerRunner(web.Server(echo), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    place = ":".join(map(str, runner.addresses[0][:2]))
    with Edge(FILE, places={"gateway:8080": place, "127.0.0.1:3500": place}, environment={}) as edge:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{edge.url}/v1/runs/run_1/events") as socket:
            await socket.send_str("hello")
            assert (await socket.receive(60)).data == "127.0.0.1 hello"
    await runner.cleanup()
    async with aiohttp.ClientSession(headers=key_of(mesh)) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{mesh.edge.url}/v1/me")
        assert refused.value.status == 200, "an ordinary answer"


async def test_who_cannot_be_reached_is_a_problem_document() -> None:
    places = {"127.0.0.1:3500": "127.0.0.1:9", "gateway:8080": "127.0.0.1:9"}
    environment = {"DAPR_API_TOKEN": "x"}
    with Edge(FILE, places=places, environment=environment) as edge:
        async with aiohttp.ClientSession() as session, session.get(f"{edge.url}/v1/me") as answer:
            assert answer.status in (502, 503)
            assert answer.headers["content-type"] == "application/problem+json"
            assert (await answer.json(content_type=None))["retryable"] is True
