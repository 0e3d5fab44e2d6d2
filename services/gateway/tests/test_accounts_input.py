"""What strangers may send instead of what is asked for; and what people may be called."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from crewmesh_gateway.settings import Settings
from fastapi import FastAPI

from .guests import PASSWORD, account_settings, guest, member
from .inside import rows
from .post import PostOffice, text_of

TOKEN = "t" * 43
OPEN: dict[str, dict[str, object]] = {
    "/v1/auth/signup": {
        "email": "a@example.org",
        "password": PASSWORD,
        "name": "Ada",
        "organization": "Engines",
        "invitation": TOKEN,
    },
    "/v1/auth/verify-email": {"token": TOKEN},
    "/v1/auth/verify-email/resend": {"email": "a@example.org"},
    "/v1/auth/login": {
        "email": "a@example.org",
        "password": PASSWORD,
        "organization": "org_1",
        "invitation": TOKEN,
    },
    "/v1/auth/login/second-factor": {"token": TOKEN, "code": "123456", "invitation": TOKEN},
    "/v1/auth/password/forgot": {"email": "a@example.org"},
    "/v1/auth/password/reset": {"token": TOKEN, "password": PASSWORD},
}
MINE: dict[str, dict[str, object]] = {
    "PATCH /v1/me": {"name": "Ada"},
    "PUT /v1/me/password": {"current": PASSWORD, "new": PASSWORD},
    "POST /v1/me/login": {"email": "a@example.org", "password": PASSWORD},
    "POST /v1/me/second-factor": {"password": PASSWORD},
    "POST /v1/me/second-factor/confirm": {"code": "123456"},
    "POST /v1/me/second-factor/recovery-codes": {"code": "123456"},
    "DELETE /v1/me/second-factor": {"password": PASSWORD, "code": "123456"},
}
WHOLES: tuple[object, ...] = ([], "text", 7, None)
NO_TEXTS: tuple[object, ...] = ({}, {"$ne": None}, [], ["a text"], 7, True)


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    return account_settings(database_url("gateway"), office)


async def test_every_field_wants_text(client: httpx2.AsyncClient, office: PostOffice) -> None:
    ada = await member(client, office, "ada@example.org")
    routes = {f"POST {path}": body for path, body in OPEN.items()} | MINE
    for route, body in routes.items():
        method, path = route.split()
        for field in body:
            for wrong in NO_TEXTS:
                answer = await ada.send(method, path, {**body, field: wrong})
                assert answer.status_code == 422, (route, field, wrong, answer.text)
        unknown = await ada.send(method, path, {**body, "is_admin": True})
        assert unknown.status_code == 422, route
        for whole in WHOLES:
            assert (await ada.send(method, path, whole)).status_code == 422, (route, whole)


async def test_text_that_is_none(client: httpx2.AsyncClient, office: PostOffice) -> None:
    ada = await member(client, office, "ada@example.org")
    headers = {**ada.headers, "content-type": "application/json"}
    for route, body in ({f"POST {path}": body for path, body in OPEN.items()} | MINE).items():
        method, path = route.split()
        for field in body:
            for bad in (rb"\ud800 and some more text", rb"NUL \u0000 in the middle of it"):
                rest = b"".join(
                    b'"%s":"%s",' % (name.encode(), str(body[name]).encode()) for name in body if name != field
                )
                content = b'{%s"%s":"%s"}' % (rest, field.encode(), bad)
                answer = await client.request(method, path, content=content, headers=headers)
                assert 400 <= answer.status_code < 500, (route, field, bad, answer.text)


@pytest.mark.parametrize("name", ["x" * 10_000, "", "   ", "\u200b", "two\nlines", "with \0", "turned \u202e around"])
async def test_names_that_are_none(client: httpx2.AsyncClient, name: str) -> None:
    for field in ("name", "organization"):
        answer = await guest(client).sign_up("a@example.org", **{field: name})
        assert answer.status_code == 422


@pytest.mark.parametrize(
    "name",
    ["__proto__", "constructor", "{{7*7}}", "${7*7}", "<b>Ada</b>", "' OR 1=1 --", "\u200fשלום", "😀", "x" * 200],
)
async def test_names_are_kept_and_mailed_as_they_are(client: httpx2.AsyncClient, office: PostOffice, name: str) -> None:
    ada = await member(client, office, "ada@example.org", name=name, organization=name)
    me = (await ada.get("/v1/me")).json()
    assert (me["user"]["name"], me["organization"]["name"]) == (name, name)
    await guest(client).post("/v1/auth/password/forgot", email="ada@example.org")
    mail = await office.next_to("ada@example.org", after=1)
    assert f"Hello {name}," in text_of(mail)
    assert mail["Subject"] == "Choose a new password"
    assert not mail.defects


async def test_mails_go_to_international_domains(app: FastAPI, client: httpx2.AsyncClient, office: PostOffice) -> None:
    somebody = guest(client)
    await somebody.sign_up("ada@BÜCHER.example")
    token = await office.token_to("ada@xn--bcher-kva.example")
    assert office.envelopes == [("no-reply@localhost", ["ada@xn--bcher-kva.example"])]
    assert (await somebody.verify(token)).status_code == 200
    assert (await guest(client).log_in("ada@xn--bcher-kva.example")).status_code == 200, "the same address"
    assert [row["email"] for row in await rows(app, "SELECT email FROM users WHERE email IS NOT NULL")] == [
        "ada@bücher.example"
    ]


async def test_a_page_of_somebody_else_logs_nobody_in(client: httpx2.AsyncClient, office: PostOffice) -> None:
    await member(client, office, "ada@example.org")
    body = {"email": "ada@example.org", "password": PASSWORD}
    foreign = await client.post("/v1/auth/login", json=body, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
    form = await client.post("/v1/auth/login", data=body)
    assert form.status_code == 415
