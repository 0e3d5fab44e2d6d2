"""The second factor: RFC 6238 by its own vectors, and the way in with it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import httpx2
import pytest
from crewmesh_gateway.second_factor import recovery_codes, totp
from crewmesh_gateway.second_factor.service import SecondFactor
from crewmesh_gateway.settings import Settings
from fastapi import FastAPI

from .guests import PASSWORD, Guest, account_settings, guest, member
from .inside import rows
from .post import PostOffice

RFC_SECRET = b"12345678901234567890"
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that is shown at the end of its thirty seconds would arrive after them."""
    monkeypatch.setattr("crewmesh_gateway.accounts.lifetime.SecondFactor", partial(SecondFactor, now=lambda: NOW))


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_vectors_of_rfc_6238(seconds: int, code: str) -> None:
    assert totp.code_at(RFC_SECRET, seconds // 30, digits=8) == code


@pytest.mark.parametrize(("off", "good"), [(-61, False), (-30, True), (0, True), (30, True), (61, False)])
def test_clocks_may_differ_by_one_step(off: int, good: bool) -> None:
    code = totp.code_at(RFC_SECRET, 1_000_000 + off // 30)
    assert (totp.step_of(RFC_SECRET, code, now=30_000_000.0) is not None) is good


def test_the_address_for_a_qr_code_escapes_what_people_call_themselves() -> None:
    uri = totp.as_uri(RFC_SECRET, account="a&b=c?d/{{7*7}}@example.org")
    assert uri.startswith("otpauth://totp/Crewmesh:a%26b%3Dc%3Fd%2F%7B%7B7%2A7%7D%7D@example.org?secret=GEZDGNBV")


def test_recovery_codes_are_read_as_people_write_them() -> None:
    [code, *others] = recovery_codes.new_codes()
    assert len({code, *others}) == 10
    assert recovery_codes.digest(f" {code.upper().replace('-', ' ')} ") == recovery_codes.digest(code)
    assert recovery_codes.digest("123456") is None


@dataclass
class Phone:
    """An app that shows codes."""

    secret: bytes

    def code(self, *, steps: int = 0) -> str:
        return totp.code_at(self.secret, int(NOW) // 30 + steps)

    def wrong(self) -> str:
        good = {self.code(steps=steps) for steps in (-1, 0, 1)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in good)


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    return account_settings(database_url("gateway"), office)


def phone_of(begun: httpx2.Response) -> Phone:
    secret = begun.json()["secret"]
    return Phone(base64.b32decode(secret + "=" * (-len(secret) % 8)))


async def with_phone(client: httpx2.AsyncClient, office: PostOffice, email: str) -> tuple[Guest, Phone, list[str]]:
    somebody = await member(client, office, email)
    phone = phone_of(await somebody.post("/v1/me/second-factor", password=PASSWORD))
    confirmed = await somebody.post("/v1/me/second-factor/confirm", code=phone.code(steps=-1))
    assert confirmed.status_code == 200, confirmed.text
    assert (await office.next_to(email, after=1))["Subject"] == "Your second factor was turned on"
    return somebody, phone, confirmed.json()["recovery_codes"]


async def half_way(somebody: Guest, email: str) -> str:
    answer = await somebody.log_in(email)
    assert answer.status_code == 200
    assert answer.json().keys() == {"second_factor"}, "no token before the code"
    assert "set-cookie" not in answer.headers
    return answer.json()["second_factor"]["token"]


async def test_logging_in_with_a_code_that_is_good_once(
    app: FastAPI, client: httpx2.AsyncClient, office: PostOffice
) -> None:
    _, phone, _ = await with_phone(client, office, "ida@example.org")
    stored = await rows(app, "SELECT totp_secret FROM users WHERE totp_secret IS NOT NULL")
    assert phone.secret not in bytes(stored[0]["totp_secret"]), "it is kept encrypted"
    later = guest(client)
    token = await half_way(later, "ida@example.org")
    code = phone.code()
    assert (await later.get("/v1/me")).status_code == 401
    entered = await later.post("/v1/auth/login/second-factor", token=token, code=code)
    assert entered.status_code == 200
    assert entered.json()["access_token"]
    again = await later.post("/v1/auth/login/second-factor", token=token, code=code)
    assert again.status_code == 401, "the token is used up"
    replayed = await later.post(
        "/v1/auth/login/second-factor", token=await half_way(later, "ida@example.org"), code=code
    )
    assert (replayed.status_code, replayed.json()["type"].rsplit("/", 1)[1]) == (401, "code-refused")


async def test_five_tries_for_a_token_and_not_many_more_for_a_person(
    client: httpx2.AsyncClient, office: PostOffice
) -> None:
    _, phone, _ = await with_phone(client, office, "jan@example.org")
    thief = guest(client)
    token = await half_way(thief, "jan@example.org")
    for _ in range(5):
        answer = await thief.post("/v1/auth/login/second-factor", token=token, code=phone.wrong())
        assert answer.status_code == 401
    late = await thief.post("/v1/auth/login/second-factor", token=token, code=phone.code())
    assert late.status_code == 401, "the sixth is not looked at"
    answers: list[int] = []
    for _ in range(3):
        token = await half_way(thief, "jan@example.org")
        for _ in range(5):
            answer = await thief.post("/v1/auth/login/second-factor", token=token, code=phone.wrong())
            answers.append(answer.status_code)
    assert 429 in answers, "new tokens give no new tries without end"
    assert answers.count(401) <= 5


async def test_a_recovery_code_works_once(client: httpx2.AsyncClient, office: PostOffice) -> None:
    _, _, codes = await with_phone(client, office, "kim@example.org")
    assert len(codes) == 10
    lost = guest(client)
    for code, status in ((codes[0].upper(), 200), (codes[0], 401), (codes[1], 200)):
        token = await half_way(lost, "kim@example.org")
        answer = await lost.post("/v1/auth/login/second-factor", token=token, code=code)
        assert answer.status_code == status


async def test_new_recovery_codes_end_the_old_ones(client: httpx2.AsyncClient, office: PostOffice) -> None:
    lea, phone, old = await with_phone(client, office, "lea@example.org")
    wrong = await lea.post("/v1/me/second-factor/recovery-codes", code=phone.wrong())
    assert wrong.status_code == 403
    renewed = await lea.post("/v1/me/second-factor/recovery-codes", code=phone.code())
    assert renewed.status_code == 200
    token = await half_way(lea, "lea@example.org")
    assert (await lea.post("/v1/auth/login/second-factor", token=token, code=old[0])).status_code == 401
    fresh = renewed.json()["recovery_codes"][0]
    assert (await lea.post("/v1/auth/login/second-factor", token=token, code=fresh)).status_code == 200


async def test_turning_it_off_needs_both(client: httpx2.AsyncClient, office: PostOffice) -> None:
    mia, phone, codes = await with_phone(client, office, "mia@example.org")
    again = await mia.post("/v1/me/second-factor", password=PASSWORD)
    assert again.status_code == 409, "who has one cannot have it replaced by who found the screen"
    path, body = "/v1/me/second-factor", {"password": PASSWORD, "code": phone.code()}
    assert (await mia.send("DELETE", path, {**body, "password": "not the password"})).status_code == 403
    assert (await mia.send("DELETE", path, {**body, "code": phone.wrong()})).status_code == 403
    assert (await mia.send("DELETE", path, body)).status_code == 204
    assert (await mia.send("DELETE", path, {**body, "code": codes[0]})).status_code == 409
    assert "access_token" in (await mia.log_in("mia@example.org")).json()
    assert (await office.next_to("mia@example.org", after=2))["Subject"] == "Your second factor was turned off"


async def test_beginning_needs_the_password_and_confirming_a_code(
    client: httpx2.AsyncClient, office: PostOffice
) -> None:
    nia = await member(client, office, "nia@example.org")
    assert (await nia.post("/v1/me/second-factor/confirm", code="123456")).status_code == 409
    assert (await nia.post("/v1/me/second-factor", password="not the password")).status_code == 403
    begun = await nia.post("/v1/me/second-factor", password=PASSWORD)
    assert begun.status_code == 200
    assert (await nia.post("/v1/me/second-factor/confirm", code=phone_of(begun).wrong())).status_code == 403
    assert "access_token" in (await nia.log_in("nia@example.org")).json(), "it is not on yet"


async def test_a_reset_password_does_not_replace_the_second_factor(
    client: httpx2.AsyncClient, office: PostOffice
) -> None:
    await with_phone(client, office, "oda@example.org")
    thief = guest(client)
    await thief.post("/v1/auth/password/forgot", email="oda@example.org")
    token = await office.token_to("oda@example.org", after=2)
    changed = await thief.post("/v1/auth/password/reset", token=token, password="what a thief would like")
    assert changed.status_code == 204
    answer = await thief.log_in("oda@example.org", "what a thief would like")
    assert answer.json().keys() == {"second_factor"}
