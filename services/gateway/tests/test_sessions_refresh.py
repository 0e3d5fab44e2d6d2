"""A login goes on: one token after the other, however many ask at once; a copied token ends it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import KeySettings, Settings, TokenSettings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import bearer, until
from .inside import change
from .logins import HERE, cookies_of, log_in, next_token, refreshed, refused, sessions_of, somebody, with_cookie

GRACE_IS_OVER = "UPDATE sessions SET refreshed_at = refreshed_at - interval '11 seconds'"


@pytest.fixture
def remembering(settings: Settings) -> Settings:
    """Principals are known for long, so that only being told ends them."""
    return settings.model_copy(update={"keys": KeySettings(cache_seconds=300)})


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """With the longest time in which a token may be shown again."""
    return settings.model_copy(update={"tokens": TokenSettings(grace_seconds=60)})


async def test_a_login_begins_and_goes_on(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        me = (await client.get("/v1/me", headers=bearer(begun.access_token))).json()
        assert (me["user"]["name"], me["organization"]["id"], me["role"]) == ("Ada", HERE, "editor")
        answer = await refreshed(client, begun.refresh_token, begun.csrf_token)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert {**told, "access_token": "", "expires_at": ""} == {
            "access_token": "",
            "token_type": "Bearer",
            "expires_at": "",
            "csrf_token": begun.csrf_token,
            "organization": HERE,
        }
        assert next_token(answer) != begun.refresh_token
        assert next_token(answer) not in answer.text
        assert (await client.get("/v1/me", headers=bearer(told["access_token"]))).status_code == 200
        lasts = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
        assert timedelta(seconds=540) < lasts <= timedelta(seconds=600)
        rows = await sessions_of(app)
    assert [(row["id"], row["revoked_at"]) for row in rows] == [(begun.session, None)]
    assert rows[0]["agent"] != "a browser", "where it was last used from"
    assert begun.refresh_token not in str(rows)


async def test_fifty_at_once_at_two_replicas_get_the_same_next_token(patient: Settings, sidecar: FakeSidecar) -> None:
    one, other = create_app(patient, sidecar), create_app(patient, sidecar)
    async with running(one) as first, running(other) as second:
        await somebody(one, HERE)
        begun = await log_in(one)
        clients = [first, second] * 25
        answers = await asyncio.gather(*(refreshed(each, begun.refresh_token, begun.csrf_token) for each in clients))
        assert [answer.status_code for answer in answers] == [200] * 50
        successors = {next_token(answer) for answer in answers}
        assert len(successors) == 1
        assert len(await sessions_of(one)) == 1
        assert (await refreshed(second, successors.pop(), begun.csrf_token)).status_code == 200


async def test_a_copied_token_ends_the_login_everywhere_at_once(remembering: Settings, sidecar: FakeSidecar) -> None:
    one, other = create_app(remembering, sidecar), create_app(remembering, sidecar)
    async with running(one) as first, running(other) as second:
        await somebody(one, HERE)
        begun = await log_in(one)
        answer = await refreshed(first, begun.refresh_token, begun.csrf_token)
        successor, access = next_token(answer), answer.json()["access_token"]
        for client in (first, second):
            for token in (access, begun.access_token):
                assert (await client.get("/v1/me", headers=bearer(token))).status_code == 200
        await change(one, GRACE_IS_OVER)
        stolen = await refreshed(second, begun.refresh_token, begun.csrf_token)
        assert (stolen.status_code, stolen.json()["type"].rsplit("/")[-1]) == (401, "session-ended")
        for client in (first, second):
            for token in (access, begun.access_token):
                await refused(client, token)
        assert (await refreshed(first, successor, begun.csrf_token)).status_code == 401, "the rightful owner's, too"
        assert [row["revoked_because"] for row in await sessions_of(one)] == ["reuse"]


async def test_a_token_may_be_shown_again_for_some_seconds_by_those_sent_together(
    patient: Settings, sidecar: FakeSidecar
) -> None:
    app = create_app(patient, sidecar)
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        first = await refreshed(client, begun.refresh_token, begun.csrf_token)
        await change(app, "UPDATE sessions SET refreshed_at = refreshed_at - interval '20 seconds'")
        again = await refreshed(client, begun.refresh_token, begun.csrf_token)
        assert again.status_code == 200
        assert next_token(again) == next_token(first)


async def test_a_token_from_before_the_last_one_is_never_good(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        first = await refreshed(client, begun.refresh_token, begun.csrf_token)
        second = await refreshed(client, next_token(first), begun.csrf_token)
        assert (await refreshed(client, begun.refresh_token, begun.csrf_token)).status_code == 401
        assert (await refreshed(client, next_token(second), begun.csrf_token)).status_code == 401
        assert [row["revoked_because"] for row in await sessions_of(app)] == ["reuse"]


async def test_made_up_tokens_end_no_login_and_ask_no_database(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun, another = await log_in(app), await log_in(app)
        secret = begun.refresh_token.partition(".")[2]
        made_up = [
            "",
            "x",
            begun.session,
            f"{begun.session}.",
            f"{begun.session}.{'A' * 64}",
            f"{another.session}.{secret}",
            begun.refresh_token[:-1] + ("A" if begun.refresh_token[-1] != "A" else "B"),
            f"{begun.refresh_token}A",
            f"{begun.refresh_token}%0a",
            "A" * 5000,
        ]
        before = await sessions_of(app)
        with monkeypatch.context() as patched:
            patched.setattr("crewmesh_gateway.sessions.service.Sessions.refresh", None)
            for token in made_up:
                answer = await refreshed(client, token, begun.csrf_token)
                assert answer.status_code == 401, token
                assert {value for value, _ in cookies_of(answer).values()} == {""}, "the browser forgets it"
        assert await sessions_of(app) == before


async def test_a_login_that_is_used_lasts_but_not_for_ever(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        await change(app, "UPDATE sessions SET expires_at = now() + interval '1 minute'")
        answer = await refreshed(client, begun.refresh_token, begun.csrf_token)
        (row,) = await sessions_of(app)
        assert row["expires_at"] - row["refreshed_at"] == timedelta(days=30)
        await change(app, "UPDATE sessions SET created_at = now() - interval '89 days'")
        answer = await refreshed(client, next_token(answer), begun.csrf_token)
        (row,) = await sessions_of(app)
        assert row["expires_at"] == row["created_at"] + timedelta(days=90)
        await change(app, "UPDATE sessions SET expires_at = now()")
        assert (await refreshed(client, next_token(answer), begun.csrf_token)).status_code == 401
        assert (await client.get("/v1/me", headers=bearer(answer.json()["access_token"]))).status_code == 401


async def test_logging_out_ends_all_its_tokens(remembering: Settings, sidecar: FakeSidecar) -> None:
    one, other = create_app(remembering, sidecar), create_app(remembering, sidecar)
    async with running(one) as first, running(other) as second:
        await somebody(one, HERE)
        begun = await log_in(one)
        assert (await second.get("/v1/me", headers=bearer(begun.access_token))).status_code == 200
        answer = await with_cookie(first, "/v1/auth/logout", begun.refresh_token, begun.csrf_token)
        assert (answer.status_code, answer.content) == (204, b"")
        assert {value for value, _ in cookies_of(answer).values()} == {""}
        await refused(second, begun.access_token)
        assert (await refreshed(second, begun.refresh_token, begun.csrf_token)).status_code == 401
        again = await with_cookie(second, "/v1/auth/logout", begun.refresh_token, begun.csrf_token)
        assert again.status_code == 204, "whoever is logged out already is told the same"
        assert (await first.post("/v1/auth/logout")).status_code == 204
        assert [row["revoked_because"] for row in await sessions_of(one)] == ["logout"]


async def test_a_refresh_and_a_logout_at_once_leave_nobody_logged_in(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        for _ in range(20):
            begun = await log_in(app)
            refresh, logout = await asyncio.gather(
                refreshed(client, begun.refresh_token, begun.csrf_token),
                with_cookie(client, "/v1/auth/logout", begun.refresh_token, begun.csrf_token),
            )
            assert logout.status_code == 204
            if refresh.status_code == 200:
                assert (await refreshed(client, next_token(refresh), begun.csrf_token)).status_code == 401
        assert {row["revoked_because"] for row in await sessions_of(app)} == {"logout"}


async def test_what_happened_to_logins_is_in_the_audit_log(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        await refreshed(client, begun.refresh_token, begun.csrf_token)
        await change(app, GRACE_IS_OVER)
        await refreshed(client, begun.refresh_token, begun.csrf_token, **{"user-agent": "a thief"})
        await until(lambda: len(sidecar.published_on("audit")) == 2)
    lines = [cast(JsonObject, event.data) for event in sidecar.published_on("audit")]
    assert begun.refresh_token not in str(lines)
    assert [(line["action"], line["resource"], line["after"]) for line in lines] == [
        ("session.begun", begun.session, None),
        ("session.ended", begun.session, {"because": "reuse"}),
    ]
    assert (lines[1]["agent"], lines[1]["organization"]) == ("a thief", HERE)
