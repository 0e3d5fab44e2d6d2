"""Choosing a new password without the old one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx2
import pytest
from crewmesh_gateway.accounts.lifetime import forget
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import AccountSettings, Settings
from crewmesh_kit.db.database import Database
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import until
from .guests import PASSWORD, account_settings, guest, member
from .inside import change, held, rows
from .post import PostOffice, text_of

NEW = "quite different random words"
EMAIL = "pia@example.org"


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    return account_settings(database_url("gateway"), office)


async def test_a_new_password_ends_every_login_and_every_other_link(
    app: FastAPI, client: httpx2.AsyncClient, office: PostOffice
) -> None:
    pia = await member(client, office, EMAIL, name="Pia {{7*7}} \u200fשלום")
    forgetful = guest(client)
    for _ in range(2):
        assert (await forgetful.post("/v1/auth/password/forgot", email="PIA@example.org")).status_code == 202
    first, second = await office.token_to(EMAIL, after=1), await office.token_to(EMAIL, after=2)
    mail = text_of(await office.next_to(EMAIL, after=1))
    assert "Hello Pia {{7*7}} \u200fשלום," in mail, "names stand in mails as they are"
    stored = str(await rows(app, "SELECT * FROM account_tokens")) + str(await rows(app, "SELECT * FROM mails"))
    assert first not in stored
    weak = await forgetful.post("/v1/auth/password/reset", token=first, password="password1234")
    assert (weak.status_code, weak.json()["type"].rsplit("/", 1)[1]) == (422, "password-refused")
    assert (await forgetful.post("/v1/auth/password/reset", token=first, password=NEW)).status_code == 204
    for token in (first, second):
        again = await forgetful.post("/v1/auth/password/reset", token=token, password="yet other random words")
        assert (again.status_code, again.json()["type"].rsplit("/", 1)[1]) == (400, "link-expired")
    assert (await pia.get("/v1/me")).status_code == 401, "every login ended"
    assert (await pia.log_in(EMAIL)).status_code == 401
    assert (await pia.log_in(EMAIL, NEW)).status_code == 200
    assert (await office.next_to(EMAIL, after=3))["Subject"] == "Your password was changed"


async def test_a_link_is_used_once_by_whoever_is_first(client: httpx2.AsyncClient, office: PostOffice) -> None:
    await member(client, office, EMAIL)
    await guest(client).post("/v1/auth/password/forgot", email=EMAIL)
    token = await office.token_to(EMAIL, after=1)
    answers = await asyncio.gather(
        *(
            guest(client).post("/v1/auth/password/reset", token=token, password=f"{number} plain random words")
            for number in range(10)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [204] + [400] * 9


async def test_links_get_old(client: httpx2.AsyncClient, app: FastAPI, office: PostOffice) -> None:
    await member(client, office, EMAIL)
    await guest(client).post("/v1/auth/password/forgot", email=EMAIL)
    token = await office.token_to(EMAIL, after=1)
    await change(app, "UPDATE account_tokens SET expires_at = now()")
    answer = await guest(client).post("/v1/auth/password/reset", token=token, password=NEW)
    assert answer.status_code == 400


async def test_a_login_with_the_old_password_does_not_outlive_the_change(
    client: httpx2.AsyncClient, office: PostOffice, app: FastAPI
) -> None:
    """However the two fall together: afterwards no login is left that began with the old password."""
    pia = await member(client, office, EMAIL)
    old, new = PASSWORD, NEW
    for _ in range(5):
        others = [guest(client) for _ in range(8)]
        changed, *_ = await asyncio.gather(
            pia.send("PUT", "/v1/me/password", {"current": old, "new": new}),
            *(other.log_in(EMAIL, old) for other in others),
        )
        assert changed.status_code == 204
        left = await rows(app, "SELECT id FROM sessions WHERE revoked_at IS NULL")
        assert len(left) == 1, "only that of who changed it"
        old, new = new, old


async def test_nobody_can_have_somebodys_mailbox_filled(
    office: PostOffice, database_url: Callable[[str], str], sidecar: FakeSidecar
) -> None:
    settings = account_settings(database_url("gateway"), office, accounts=AccountSettings(mails_per_hour=3))
    app = create_app(settings, sidecar)
    async with running(app) as client:
        for number in range(12):
            path = ("/v1/auth/password/forgot", "/v1/auth/verify-email/resend")[number % 2]
            assert (await guest(client).post(path, email=EMAIL)).status_code == 202
            assert (await guest(client).sign_up(EMAIL)).status_code == 202

        async def done() -> bool:
            return not await rows(app, "SELECT 1 FROM account_requests UNION ALL SELECT 1 FROM mails")

        await until(done, seconds=60)
        assert len(office.to(EMAIL)) == 3
        assert len(await rows(app, "SELECT 1 FROM account_tokens")) <= 3


async def test_a_stranger_does_not_ask_without_end(client: httpx2.AsyncClient) -> None:
    stranger = guest(client)
    answers = [await stranger.post("/v1/auth/password/forgot", email=f"{number}@example.org") for number in range(60)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 10
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


async def test_who_has_the_mailbox_gets_in_whatever_was_tried_before(
    client: httpx2.AsyncClient, office: PostOffice
) -> None:
    await member(client, office, EMAIL)
    forgetful = guest(client)
    answers = [await forgetful.log_in(EMAIL, f"perhaps it was this {number}") for number in range(11)]
    assert answers[-1].status_code == 429
    await forgetful.post("/v1/auth/password/forgot", email=EMAIL)
    token = await office.token_to(EMAIL, after=1)
    assert (await forgetful.post("/v1/auth/password/reset", token=token, password=NEW)).status_code == 204
    assert (await forgetful.log_in(EMAIL, NEW)).status_code == 200


async def test_a_request_that_cannot_be_done_holds_up_no_other(
    app: FastAPI, client: httpx2.AsyncClient, office: PostOffice
) -> None:
    await member(client, office, EMAIL)
    await change(
        app,
        "INSERT INTO account_requests (id, kind, email, detail) VALUES ('req_0', 'signup', 'not an address', '{}')",
    )
    await guest(client).post("/v1/auth/password/forgot", email=EMAIL)
    await office.token_to(EMAIL, after=1)
    [kept] = await rows(app, "SELECT due_at > now() AS later FROM account_requests")
    assert kept["later"], "it is tried again"


async def test_what_is_over_is_forgotten(app: FastAPI, client: httpx2.AsyncClient, office: PostOffice) -> None:
    pia = await member(client, office, EMAIL)
    await pia.log_in(EMAIL)
    await guest(client).post("/v1/auth/password/forgot", email=EMAIL)
    await office.token_to(EMAIL, after=1)
    await change(app, "UPDATE account_tokens SET expires_at = now() - interval '1 minute'")
    await change(app, "UPDATE attempts SET at = now() - interval '2 days'")
    await change(
        app,
        "INSERT INTO account_requests (id, kind, email, created_at, due_at)"
        " VALUES ('req_0', 'forgot', 'x@example.org', now() - interval '2 days', now() + interval '1 day')",
    )
    await forget(held(app, Database))
    for table in ("account_tokens", "account_requests"):
        assert not await rows(app, f"SELECT 1 FROM {table}"), table
    assert all(row["trusted_until"] for row in await rows(app, "SELECT trusted_until FROM attempts"))
    assert await rows(app, "SELECT 1 FROM attempts"), "where somebody logged in is remembered for longer"
