"""What is refused is told: to whom, of what and why; but not a thousand times, and not of whom nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import httpx2
import pytest
from aiohttp import web
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import AuditRecorded
from crewmesh_gateway.audit.denials import Denials, Refusal
from crewmesh_gateway.sessions.access_tokens import AccessTokens
from crewmesh_gateway.settings import AuditSettings, Settings
from crewmesh_kit.background import Background
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity
from crewmesh_kit.origin import Origin
from crewmesh_kit.speakable import speakable
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, Upstream, bearer, key_of, until
from .inside import held

VIEWER, REVOKED, EXPIRED = (key_of(name, name[0] * 32) for name in ("viewerkey", "revokedkey", "expiredkey"))
AGENT = {"user-agent": "curl/8.5"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """What is counted is told when a test says so, not when its time is over."""
    return settings.model_copy(update={"audit": AuditSettings(denied_window_seconds=3600)})


@pytest.fixture
async def client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    async with running(app) as client:
        async with held(app, Database).system() as conn:
            await conn.execute("INSERT INTO users (id, name) VALUES ('usr_8', 'Viewer')")
            await conn.execute(
                "INSERT INTO memberships (org_id, user_id, role) SELECT id, 'usr_8', 'viewer' FROM organizations"
            )
            for name, key in (("viewer", VIEWER), ("revoked", REVOKED), ("expired", EXPIRED)):
                await conn.execute(
                    "INSERT INTO api_keys (id, org_id, user_id, name, prefix, secret_sha256, permissions)"
                    " SELECT %s, org_id, user_id, 'k', %s, %s, '{*}' FROM memberships WHERE user_id = 'usr_8'",
                    [f"key_{name}", key.prefix, key.digest()],
                )
            await conn.execute("UPDATE api_keys SET revoked_at = now() WHERE id = 'key_revoked'")
            await conn.execute("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = 'key_expired'")
        yield client


def told(sidecar: FakeSidecar) -> list[AuditRecorded]:
    """Without what else is told by other parts of the gateway. What a stop let be published twice is one by its id."""
    events = {event.id: AuditRecorded.model_validate(event.data) for event in sidecar.published_on("audit")}
    return [event for event in events.values() if event.action == "request.denied"]


async def one(sidecar: FakeSidecar) -> AuditRecorded:
    await until(lambda: bool(told(sidecar)))
    (line,) = told(sidecar)
    return line


def detail(line: AuditRecorded) -> JsonObject:
    assert isinstance(line.after, dict)
    return line.after


async def test_a_missing_permission_on_a_route_of_the_gateway(client: httpx2.AsyncClient, sidecar: FakeSidecar) -> None:
    answer = await client.get("/v1/audit-events?q=abc", headers={"x-api-key": VIEWER.text, **AGENT})
    assert answer.status_code == 403
    line = await one(sidecar)
    assert (line.actor, line.acting_for, line.outcome) == ("key_viewer", "usr_8", "denied")
    assert (line.resource, line.agent, line.trace) == ("/v1/audit-events", "curl/8.5", answer.json()["trace_id"])
    assert line.address is not None
    assert detail(line) == {
        "method": "GET",
        "route": "/v1/audit-events",
        "status": 403,
        "problem": "permission-denied",
        "permission": "audit:read",
        "count": 1,
    }


async def test_a_refusal_by_a_service_behind_the_gateway(
    client: httpx2.AsyncClient, sidecar: FakeSidecar, upstream: Upstream
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        problem = {"type": "https://crewmesh.dev/problems/permission-denied", "permission": "workflows:write"}
        return web.json_response(problem, status=403, content_type="application/problem+json")

    upstream.handler = refuse
    answer = await client.delete("/v1/workflows/wf_1", headers={"x-api-key": VIEWER.text})
    assert answer.status_code == 403
    line = await one(sidecar)
    assert (line.actor, line.resource) == ("key_viewer", "/v1/workflows/wf_1")
    assert (detail(line)["method"], detail(line)["route"]) == ("DELETE", "/v1/workflows/{path}")
    assert detail(line)["permission"] == "workflows:write"


@pytest.mark.parametrize(("key", "actor"), [(REVOKED, "key_revoked"), (EXPIRED, "key_expired")])
@pytest.mark.parametrize("path", ["/v1/me", "/v1/runs"])
async def test_a_key_that_does_not_hold_any_more_is_recognized(
    client: httpx2.AsyncClient, sidecar: FakeSidecar, key: object, actor: str, path: str
) -> None:
    text = REVOKED.text if key is REVOKED else EXPIRED.text
    assert (await client.get(path, headers=bearer(text))).status_code == 401
    line = await one(sidecar)
    assert (line.actor, line.acting_for, line.resource) == (actor, "usr_8", path)
    assert detail(line)["status"] == 401


async def test_a_token_of_a_login_that_was_ended_is_recognized(
    app: FastAPI, client: httpx2.AsyncClient, sidecar: FakeSidecar
) -> None:
    organization = (await client.get("/v1/me", headers=BEARER)).json()["organization"]["id"]
    text, _ = held(app, AccessTokens).issue("usr_8", organization, "ses_ended")
    assert (await client.get("/v1/me", headers=bearer(text))).status_code == 401
    line = await one(sidecar)
    assert (line.actor, line.organization) == ("usr_8", organization)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer nonsense"},
        bearer(key_of("viewerkey", "x" * 32).text),
        bearer(key_of("nobodykey", "x" * 32).text),
        {"authorization": f"Basic {REVOKED.text}"},
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c3JfOCJ9."},
        {"authorization": "Bearer " + "x" * 10_000},
    ],
)
async def test_of_who_cannot_be_recognized_nothing_is_told(
    client: httpx2.AsyncClient, sidecar: FakeSidecar, headers: dict[str, str]
) -> None:
    assert (await client.get("/v1/me", headers=headers)).status_code == 401
    # What comes later and is told shows that the former had its time.
    await client.get("/v1/audit-events", headers={"x-api-key": VIEWER.text})
    assert (await one(sidecar)).actor == "key_viewer"


async def test_what_is_allowed_or_not_there_is_no_refusal(client: httpx2.AsyncClient, sidecar: FakeSidecar) -> None:
    assert (await client.get("/v1/me", headers=BEARER)).status_code == 200
    assert (await client.get("/v1/audit-events/aud_x", headers=BEARER)).status_code == 404
    assert (await client.get("/v1/nonsense", headers=BEARER)).status_code == 404
    await client.get("/v1/audit-events", headers={"x-api-key": VIEWER.text})
    assert (await one(sidecar)).actor == "key_viewer"


async def test_a_flood_is_two_lines_with_its_number(
    app: FastAPI, client: httpx2.AsyncClient, sidecar: FakeSidecar
) -> None:
    headers = {"x-api-key": VIEWER.text}
    await asyncio.gather(*(client.get("/v1/audit-events", headers=headers) for _ in range(60)))
    await client.get("/v1/audit-events/aud_1", headers=headers)
    await client.get("/v1/audit-events/aud_2", headers=headers)
    await until(lambda: len(told(sidecar)) == 2)
    held(app, Denials).close()
    await until(lambda: len(told(sidecar)) == 4)
    counts = sorted((str(detail(line)["route"]), detail(line)["count"]) for line in told(sidecar))
    assert counts == [
        ("/v1/audit-events", 1),
        ("/v1/audit-events", 59),
        ("/v1/audit-events/{id}", 1),
        ("/v1/audit-events/{id}", 1),
    ]


async def test_what_was_only_counted_is_told_at_the_end(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        async with held(app, Database).system() as conn:
            await conn.execute("UPDATE memberships SET role = 'viewer'")
        for _ in range(3):
            assert (await client.get("/v1/audit-events", headers=BEARER)).status_code == 403
    async with running(app):
        await until(lambda: sum(int(str(detail(line)["count"])) for line in told(sidecar)) == 3)


class Clock:
    """Time that a test makes pass."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_windows_follow_each_other_while_it_goes_on_and_end_when_it_does_not(
    app: FastAPI, client: httpx2.AsyncClient, sidecar: FakeSidecar
) -> None:
    organization = (await client.get("/v1/me", headers=BEARER)).json()["organization"]["id"]
    clock = Clock()
    denials = Denials(held(app, Database), held(app, Background), window_seconds=10, now=clock)
    actor = Identity(organization, "usr_1", frozenset())
    refusal = Refusal(
        method="GET",
        route="/v1/x",
        path="/v1/x",
        status=403,
        problem="permission-denied",
        permission=None,
        origin=Origin(),
        trace=None,
    )
    for seconds in (0, 1, 2):  # told, counted, counted
        clock.now = 100 + seconds
        denials.note(actor, refusal)
    denials.look()
    clock.now = 111
    denials.look()  # two are told, and the next window begins
    denials.note(actor, refusal)
    clock.now = 122
    denials.look()  # one is told
    clock.now = 133
    denials.look()  # nothing: forgotten
    denials.note(actor, refusal)
    await until(lambda: len(told(sidecar)) == 4)
    assert sorted(int(str(detail(line)["count"])) for line in told(sidecar)) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/workflows/wf_" + "a" * 32 + "/runs", "/v1/workflows/wf_" + "a" * 32 + "/runs"),
        ("/v1/knowledge-bases/a-handbook-of-our-company/documents", None),
        ("/v1/invitations/inv_1.c2VjcmV0LXNlY3JldC1zZWNyZXQtQUJD/accept", "/v1/invitations/•••/accept"),
        ("/v1/x/" + "0123456789abcdef" * 2, "/v1/x/•••"),
        ("/v1/x/a\0b", "/v1/x/ab"),
        ("/v1/x/\udcff", "/v1/x/?"),
        ("/v1/" + "x/" * 5000, ("/v1/" + "x/" * 5000)[:500]),
    ],
)
def test_a_path_is_told_without_what_may_be_a_secret(path: str, told: str | None) -> None:
    assert speakable(path) == (told or path)
