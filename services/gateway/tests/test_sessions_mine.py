"""Seeing one's logins, ending them, and working in another organization."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_gateway.main import create_app
from crewmesh_gateway.sessions.repository import SessionRepository
from crewmesh_gateway.sessions.service import Sessions
from crewmesh_gateway.settings import KeySettings, Settings, TokenSettings
from crewmesh_kit.db.database import Database
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, bearer
from .inside import change, held
from .logins import ELSEWHERE, HERE, USER, cookies_of, log_in, next_token, refreshed, refused, sessions_of, somebody

STRANGER = "usr_" + "b" * 32


@pytest.fixture
def remembering(settings: Settings) -> Settings:
    return settings.model_copy(update={"keys": KeySettings(cache_seconds=300)})


async def test_ones_logins_in_pages_the_newest_first(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        await somebody(app, HERE, user=STRANGER)
        begun = [await log_in(app) for _ in range(3)]
        await log_in(app, user=STRANGER)
        headers = bearer(begun[1].access_token)
        first = (await client.get("/v1/me/sessions?limit=2", headers=headers)).json()
        rest = await client.get(f"/v1/me/sessions?limit=2&cursor={first['next_cursor']}", headers=headers)
        found = [*first["items"], *rest.json()["items"]]
        assert [(each["id"], each["current"]) for each in found] == [
            (begun[2].session, False),
            (begun[1].session, True),
            (begun[0].session, False),
        ]
        assert rest.json()["next_cursor"] is None
        assert found[0] | {"created_at": "", "last_used_at": "", "expires_at": ""} == {
            "id": begun[2].session,
            "current": False,
            "organization": HERE,
            "address": "192.0.2.7",
            "agent": "a browser",
            "created_at": "",
            "last_used_at": "",
            "expires_at": "",
        }


async def test_the_least_used_login_ends_for_one_too_many(settings: Settings, sidecar: FakeSidecar) -> None:
    few = settings.tokens.model_copy(update={"most_logins": 2})
    app = create_app(settings.model_copy(update={"tokens": few}), sidecar)
    async with running(app) as client:
        await somebody(app, HERE)
        await somebody(app, HERE, user=STRANGER)
        theirs = await log_in(app, user=STRANGER)
        first, second = await log_in(app), await log_in(app)
        await change(app, "UPDATE sessions SET last_used_at = now() + interval '1 s' WHERE id = %s", first.session)
        third = await log_in(app)
        asked = {
            one.session: await client.get("/v1/me", headers=bearer(one.access_token))
            for one in (first, second, third, theirs)
        }
        assert {session: answer.status_code for session, answer in asked.items()} == {
            first.session: 200,
            second.session: 401,
            third.session: 200,
            theirs.session: 200,
        }


async def test_keys_have_no_logins(app: FastAPI) -> None:
    async with running(app) as client:
        for method, path in (
            ("GET", "/v1/me/sessions"),
            ("DELETE", "/v1/me/sessions/ses_1"),
            ("POST", "/v1/auth/logout-all"),
            ("POST", "/v1/auth/organization"),
        ):
            body = {"organization": HERE} if path.endswith("organization") else None
            assert (await client.request(method, path, json=body)).status_code == 401
            answer = await client.request(method, path, json=body, headers=BEARER)
            assert answer.json()["type"].endswith("/not-a-person")


async def test_ending_one_login_ends_it_at_every_replica(remembering: Settings, sidecar: FakeSidecar) -> None:
    one, other = create_app(remembering, sidecar), create_app(remembering, sidecar)
    async with running(one) as first, running(other) as second:
        await somebody(one, HERE)
        begun, lost = await log_in(one), await log_in(one)
        assert (await second.get("/v1/me", headers=bearer(lost.access_token))).status_code == 200
        for _ in range(2):
            answer = await first.delete(f"/v1/me/sessions/{lost.session}", headers=bearer(begun.access_token))
            assert answer.status_code == 204
        await refused(second, lost.access_token)
        assert (await refreshed(second, lost.refresh_token, lost.csrf_token)).status_code == 401
        left = (await second.get("/v1/me/sessions", headers=bearer(begun.access_token))).json()["items"]
        assert [each["id"] for each in left] == [begun.session]


async def test_another_ones_login_is_like_one_that_never_was(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        await somebody(app, HERE, user=STRANGER)
        mine, theirs = await log_in(app), await log_in(app, user=STRANGER)
        answers = [
            await client.delete(f"/v1/me/sessions/{session}", headers=bearer(mine.access_token))
            for session in (theirs.session, "ses_" + "0" * 32, "x", "%00", "x" * 3000)
        ]
        assert {answer.status_code for answer in answers} <= {404, 400}
        assert answers[0].json() | {"instance": "", "trace_id": ""} == answers[1].json() | {
            "instance": "",
            "trace_id": "",
        }
        assert (await client.get("/v1/me", headers=bearer(theirs.access_token))).status_code == 200


@pytest.mark.parametrize(("body", "ended"), [(None, 3), ({}, 3), ({"keep_current": True}, 2)])
async def test_logging_out_everywhere(app: FastAPI, body: dict[str, bool] | None, ended: int) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        await somebody(app, HERE, user=STRANGER)
        begun = [await log_in(app) for _ in range(3)]
        theirs = await log_in(app, user=STRANGER)
        answer = await client.post("/v1/auth/logout-all", json=body, headers=bearer(begun[0].access_token))
        assert answer.json() == {"ended": ended}
        assert bool(cookies_of(answer)) == (ended == 3)
        tokens = [each.access_token for each in (*begun, theirs)]
        statuses = [(await client.get("/v1/me", headers=bearer(token))).status_code for token in tokens]
        assert statuses == [401 if ended == 3 else 200, 401, 401, 200]


async def test_others_may_end_logins_in_their_own_transaction(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        kept, ended = await log_in(app), await log_in(app)
        sessions = held(app, Sessions)
        async with held(app, Database).system() as conn:
            assert await sessions.revoke_all(conn, USER, because="password changed") == 2
            await conn.rollback()
        assert (await client.get("/v1/me", headers=bearer(ended.access_token))).status_code == 200
        async with held(app, Database).system() as conn:
            assert await sessions.revoke_all(conn, USER, because="password changed", keep=kept.session) == 1
        assert (await client.get("/v1/me", headers=bearer(ended.access_token))).status_code == 401
        assert (await client.get("/v1/me", headers=bearer(kept.access_token))).status_code == 200


async def test_working_in_another_organization(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE, ELSEWHERE)
        begun = await log_in(app)
        asked = {"organization": ELSEWHERE}
        answer = await client.post("/v1/auth/organization", json=asked, headers=bearer(begun.access_token))
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert (told["organization"], told["csrf_token"]) == (ELSEWHERE, begun.csrf_token)
        places = [
            (await client.get("/v1/me", headers=bearer(token))).json()["organization"]["id"]
            for token in (told["access_token"], begun.access_token)
        ]
        assert places == [ELSEWHERE, HERE], "each token is for its own"
        answer = await refreshed(client, begun.refresh_token, begun.csrf_token)
        assert answer.json()["organization"] == ELSEWHERE
        async with held(app, Database).system() as conn:
            (user,) = await (await conn.execute("SELECT last_org_id FROM users WHERE id = %s", [USER])).fetchall()
        assert user["last_org_id"] == ELSEWHERE


async def test_only_ones_own_organizations(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        await somebody(app, ELSEWHERE, user=STRANGER)
        begun = await log_in(app)
        for organization in (ELSEWHERE, "org_" + "9" * 32):
            answer = await client.post(
                "/v1/auth/organization", json={"organization": organization}, headers=bearer(begun.access_token)
            )
            assert answer.status_code == 404
        bodies: list[JsonObject] = [
            {},
            {"organization": {}},
            {"organization": "*"},
            {"organization": HERE, "role": "owner"},
        ]
        for body in bodies:
            answer = await client.post("/v1/auth/organization", json=body, headers=bearer(begun.access_token))
            assert answer.status_code == 422, body


async def test_who_was_removed_works_on_where_they_still_belong(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE, ELSEWHERE)
        begun = await log_in(app)
        await change(app, f"DELETE FROM memberships WHERE org_id = '{HERE}'")
        assert (await client.get("/v1/me", headers=bearer(begun.access_token))).status_code == 401
        answer = await refreshed(client, begun.refresh_token, begun.csrf_token)
        assert answer.json()["organization"] == ELSEWHERE
        assert (await sessions_of(app))[0]["org_id"] == ELSEWHERE


async def test_who_belongs_nowhere_keeps_the_login(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        await change(app, "DELETE FROM memberships WHERE role = 'editor'")
        assert (await client.get("/v1/me", headers=bearer(begun.access_token))).status_code == 401
        answer = await refreshed(client, begun.refresh_token, begun.csrf_token)
        assert (answer.status_code, answer.json()["organization"]) == (200, None)
        assert (await sessions_of(app))[0]["org_id"] is None
        await change(app, f"INSERT INTO memberships (org_id, user_id, role) VALUES ('{HERE}', '{USER}', 'viewer')")
        again = await refreshed(client, next_token(answer), begun.csrf_token)
        assert again.json()["organization"] == HERE


async def test_what_is_over_is_forgotten(app: FastAPI) -> None:
    async with running(app):
        await somebody(app, HERE)
        begun, over = await log_in(app), await log_in(app)
        await change(app, f"UPDATE sessions SET expires_at = now() - interval '25 hours' WHERE id = '{over.session}'")
        async with held(app, Database).system() as conn:
            assert await SessionRepository(TokenSettings()).forget_old(conn) == 1
        assert [row["id"] for row in await sessions_of(app)] == [begun.session]
