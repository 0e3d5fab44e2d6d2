"""From signing up to changing the password, through the public routes and a real SMTP server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import httpx2
import pytest
from crewmesh_gateway.settings import AccountSettings, Settings
from crewmesh_testkit import FakeSidecar
from fastapi import FastAPI

from .gateway import BEARER, bearer, until
from .guests import PASSWORD, account_settings, gateway, guest, member
from .inside import change, rows
from .post import PostOffice, text_of

OTHER = "quite different random words"
_THIEFS = "the password of a thief"


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    return account_settings(database_url("gateway"), office)


async def test_the_whole_journey(client: httpx2.AsyncClient, office: PostOffice, sidecar: FakeSidecar) -> None:
    ada = guest(client)
    answer = await ada.sign_up("Ada@Example.org", name="Ada {{7*7}}", organization="Engines")
    assert answer.status_code == 202
    token = await office.token_to("Ada@Example.org")
    assert (await ada.log_in("ada@example.org")).status_code == 401, "the address is not proved yet"
    verified = await ada.verify(await office.token_to("Ada@Example.org", after=1))
    assert verified.status_code == 200, "the mail came again after the login"
    assert (await ada.verify(token)).status_code == 400, "a newer link took its place"
    me = (await ada.get("/v1/me")).json()
    assert (me["user"]["name"], me["user"]["email"], me["user"]["email_verified"]) == (
        "Ada {{7*7}}",
        "Ada@Example.org",
        True,
    )
    assert (me["organization"]["name"], me["role"]) == ("Engines", "owner")
    cookies = {cookie.name: cookie for cookie in client.cookies.jar}
    assert {"crewmesh_refresh", "crewmesh_csrf"} <= cookies.keys()

    elsewhere = guest(client)
    assert (await elsewhere.log_in("ADA@example.org")).status_code == 200
    assert (await elsewhere.get("/v1/me")).status_code == 200
    renamed = await ada.send("PATCH", "/v1/me", {"name": "Ada King"})
    assert renamed.json()["user"]["name"] == "Ada King"
    refused = await ada.send("PUT", "/v1/me/password", {"current": OTHER, "new": OTHER})
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (403, "password-wrong")
    assert (await ada.send("PUT", "/v1/me/password", {"current": PASSWORD, "new": OTHER})).status_code == 204
    assert (await elsewhere.get("/v1/me")).status_code == 401, "the other login ended at once"
    assert (await ada.get("/v1/me")).status_code == 200, "this one goes on"
    assert (await elsewhere.log_in("ada@example.org")).status_code == 401
    assert (await elsewhere.log_in("ada@example.org", OTHER)).status_code == 200
    notice = await office.next_to("Ada@Example.org", after=2)
    assert notice["Subject"] == "Your password was changed"
    assert "Hello Ada King" in text_of(notice)
    await until(lambda: any("password-changed" in str(event.data) for event in sidecar.published_on("audit")))
    await until(lambda: any("Engines" in str(event.data) for event in sidecar.published_on("organizations")))


async def test_an_address_that_has_an_account_gets_another_mail(client: httpx2.AsyncClient, office: PostOffice) -> None:
    await member(client, office, "bea@example.org")
    stranger = guest(client)
    assert (await stranger.sign_up("BEA@example.org", password=OTHER)).status_code == 202
    mail = await office.next_to("BEA@example.org")
    assert mail["Subject"] == "You already have an account"
    assert "token" not in text_of(mail)
    assert (await stranger.log_in("bea@example.org", OTHER)).status_code == 401
    assert (await guest(client).log_in("bea@example.org")).status_code == 200, "nothing has changed"


async def test_who_signs_up_with_a_strange_address_occupies_nothing(
    client: httpx2.AsyncClient, office: PostOffice
) -> None:
    thief = guest(client)
    await thief.sign_up("cleo@example.org", password=_THIEFS, name="Thief <a href=evil>")
    first = await office.next_to("cleo@example.org")
    assert "Thief" not in first.as_string(), "a stranger's words do not travel in our mail"
    cleo = await member(client, office, "cleo@example.org")
    assert (await cleo.get("/v1/me")).json()["user"]["name"] == "Ada"
    assert (await thief.log_in("cleo@example.org", _THIEFS)).status_code == 401
    stale = await office.token_to("cleo@example.org")
    assert (await thief.verify(stale, _THIEFS)).status_code == 400, "what was sent before is void"


async def test_who_follows_the_link_of_a_strangers_wish_gets_no_account_of_theirs(
    client: httpx2.AsyncClient, office: PostOffice
) -> None:
    """Also when the newest mail is the stranger's, as after "send it again"."""
    owner, thief = guest(client), guest(client)
    await owner.sign_up("dana@example.org")
    own = await office.token_to("dana@example.org")
    await thief.sign_up("dana@example.org", password=_THIEFS)
    await office.next_to("dana@example.org", after=1)
    await thief.post("/v1/auth/verify-email/resend", email="dana@example.org")
    foreign = await office.token_to("dana@example.org", after=2)
    refused = await owner.verify(foreign)
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (403, "not-who-signed-up")
    page = await client.post("/v1/auth/pages/verify-email", data={"token": foreign, "password": PASSWORD})
    assert page.status_code == 403
    assert "not the password that was chosen" in page.text
    assert (await owner.verify(own)).status_code == 200
    assert (await thief.log_in("dana@example.org", _THIEFS)).status_code == 401
    assert (await owner.log_in("dana@example.org")).status_code == 200


async def test_a_link_works_once_however_many_follow_it(client: httpx2.AsyncClient, office: PostOffice) -> None:
    somebody = guest(client)
    await somebody.sign_up("dora@example.org")
    token = await office.token_to("dora@example.org")
    answers = await asyncio.gather(*(somebody.verify(token) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9


async def test_two_links_to_one_address_followed_at_once(client: httpx2.AsyncClient, office: PostOffice) -> None:
    for number in range(10):
        email = f"twin{number}@example.org"
        for _ in range(2):
            await guest(client).sign_up(email)
        links = [await office.token_to(email, after=after) for after in range(2)]
        answers = await asyncio.gather(*(guest(client).verify(token) for token in links))
        assert sorted(answer.status_code for answer in answers) == [200, 400]


async def test_the_first_owner_gets_a_login(client: httpx2.AsyncClient, office: PostOffice) -> None:
    asked = {"email": "owner@example.org", "password": PASSWORD}
    assert (await client.post("/v1/me/login", json=asked)).status_code == 401
    answer = await client.post("/v1/me/login", json=asked, headers=BEARER)
    assert answer.status_code == 202
    before = (await client.get("/v1/me", headers=BEARER)).json()["user"]
    assert before["email"] is None, "nothing holds before the address is proved"
    owner = guest(client)
    assert (await owner.verify(await office.token_to("owner@example.org"))).status_code == 200
    me = (await owner.get("/v1/me")).json()
    assert (me["user"]["id"], me["user"]["email"], me["role"]) == (before["id"], "owner@example.org", "owner")
    assert (await guest(client).log_in("owner@example.org")).status_code == 200
    assert (await client.post("/v1/me/login", json=asked, headers=BEARER)).status_code == 409


async def test_a_lesser_key_gives_nobody_a_login(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/api-keys", json={"name": "reader", "scopes": ["workflows:read"]}, headers=BEARER)
    assert made.status_code == 201, made.text
    key = bearer(made.json()["key"])
    answer = await client.post("/v1/me/login", json={"email": "x@example.org", "password": PASSWORD}, headers=key)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (403, "not-the-owners-key")


@pytest.mark.parametrize("mode", ["invited", "closed"])
async def test_where_nobody_signs_up_without_an_invitation(
    mode: str, office: PostOffice, database_url: Callable[[str], str], sidecar: FakeSidecar
) -> None:
    accounts = AccountSettings.model_validate({"signup": mode})
    settings = account_settings(database_url("gateway"), office, accounts=accounts)
    async with gateway(settings, sidecar) as (app, client):
        refused = await guest(client).sign_up("eve@example.org")
        assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (403, "signup-closed")
        assert not office.arrived
        assert not await rows(app, "SELECT 1 FROM account_requests")


async def test_signing_up_with_an_invitation(
    office: PostOffice, database_url: Callable[[str], str], sidecar: FakeSidecar
) -> None:
    settings = account_settings(database_url("gateway"), office, accounts=AccountSettings(signup="invited"))
    async with gateway(settings, sidecar) as (app, client):
        invited = await client.post(
            "/v1/invitations", json={"email": "fay@example.org", "role": "editor"}, headers=BEARER
        )
        assert invited.status_code == 201, invited.text
        invitation = await office.token_to("fay@example.org")
        fay = guest(client)
        assert (await fay.sign_up("mallory@example.org", invitation=invitation)).status_code == 403
        assert (await fay.sign_up("fay@example.org", invitation="no-such-token")).status_code == 404
        assert (await fay.sign_up("fay@example.org", invitation=invitation)).status_code == 202
        token = await office.token_to("fay@example.org", after=1)
        kept = await rows(app, "SELECT detail FROM account_tokens")
        assert invitation not in str(kept), "it lets somebody in, so it is not kept to be read"
        assert (await fay.verify(token)).status_code == 200
        me = (await fay.get("/v1/me")).json()
        assert (me["organization"]["name"], me["role"]) == ("My organization", "editor")


async def test_somebody_without_any_organization_comes_back_by_an_invitation(
    app: FastAPI, client: httpx2.AsyncClient, office: PostOffice
) -> None:
    gil = await member(client, office, "gil@example.org", organization="Gone soon")
    me = (await gil.get("/v1/me")).json()
    await change(app, "DELETE FROM memberships WHERE user_id = %s", me["user"]["id"])
    assert (await gil.log_in("gil@example.org")).status_code == 200
    assert (await gil.get("/v1/me")).json()["organization"] is None
    await client.post("/v1/invitations", json={"email": "gil@example.org", "role": "viewer"}, headers=BEARER)
    invitation = await office.token_to("gil@example.org", after=1)
    assert (await gil.log_in("gil@example.org", invitation=invitation)).status_code == 200
    assert (await gil.get("/v1/me")).json()["role"] == "viewer"


async def test_a_login_begins_where_it_is_asked_to(client: httpx2.AsyncClient, office: PostOffice) -> None:
    hal = await member(client, office, "hal@example.org")
    first = (await hal.get("/v1/me")).json()["organization"]["id"]
    second = (await hal.post("/v1/organizations", name="Second")).json()["id"]
    for organization in (second, first):
        answer = await hal.log_in("hal@example.org", organization=organization)
        assert answer.json()["organization"] == organization
        assert (await hal.log_in("hal@example.org")).json()["organization"] == organization, "where one worked last"
    strange = await hal.log_in("hal@example.org", organization="org_018f0000000000000000000000000000")
    assert strange.status_code == 404


async def test_the_pages_behind_the_links(client: httpx2.AsyncClient, office: PostOffice) -> None:
    """All of it in a browser, without any script."""
    await guest(client).sign_up("ivy@example.org")
    for page, subject, after in (("verify-email", "Verify", 0), ("password-reset", "Choose", 1)):
        mail = await office.next_to("ivy@example.org", after=after)
        assert mail["Subject"].startswith(subject)
        assert re.search(
            r"password[a-z ]*, as token and password, to POST http://localhost:8080/v1/auth/", text_of(mail)
        )
        link = re.search(r"http://localhost:8080(/v1/auth/pages/\S+)", text_of(mail))
        assert link is not None
        path, token = link[1].split("?token=")
        assert path == f"/v1/auth/pages/{page}"
        for added in ("", "&utm_source=mail"):  # looking does nothing, however often
            shown = await client.get(link[1] + added)
            assert shown.status_code == 200
            assert f'value="{token}"' in shown.text
            assert "form-action 'self'" in shown.headers["content-security-policy"]
            assert shown.headers["referrer-policy"] == "same-origin", "else browsers send Origin: null with the form"
        fields = {"token": token, "password": OTHER}
        if page == "verify-email":
            fields["password"] = PASSWORD
        else:
            weak = await client.post(path, data={**fields, "password": "password1234"})
            assert weak.status_code == 422
            assert "guessed first" in weak.text
        foreign = await client.post(path, data=fields, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert (await client.post(path, json=fields)).status_code == 415
        assert (await client.post(path, data={**fields, "more": "x"})).status_code == 422
        sent = await client.post(path, data=fields, headers={"origin": "http://localhost:8080"})
        assert sent.status_code == 200
        used = await client.post(path, data=fields)
        assert used.status_code == 400
        assert "does not work any more" in used.text
        if page == "verify-email":
            await guest(client).post("/v1/auth/password/forgot", email="ivy@example.org")
    assert (await guest(client).log_in("ivy@example.org", OTHER)).status_code == 200


async def test_what_a_page_shows_is_escaped(client: httpx2.AsyncClient) -> None:
    shown = await client.get("/v1/auth/pages/verify-email", params={"token": '"><script>alert(1)</script>'})
    assert "<script>" not in shown.text
    assert "&lt;script&gt;" in shown.text
