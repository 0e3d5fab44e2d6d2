"""People who come to the gateway from somewhere and make their way in."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import httpx2
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import AccountSettings, MailSettings, PasswordSettings, Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from pydantic import SecretStr

from .gateway import bearer, settings_for
from .post import PostOffice

# Argon2id at its cheapest: what is tested is not how long it takes.
CHEAP = PasswordSettings(memory_kib=64, passes=1)
PASSWORD = "four plain random words"
SIDECARS_TOKEN = "token-of-the-sidecar"
FORGIVEN_PER_HOUR = 1
_addresses = count(1)


@dataclass
class Guest:
    """Requests that come from one address, as the sidecar tells it."""

    client: httpx2.AsyncClient
    address: str
    access_token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        told = {"dapr-api-token": SIDECARS_TOKEN, "x-real-ip": self.address}
        return {**told, **(bearer(self.access_token) if self.access_token else {})}

    async def send(self, method: str, path: str, body: object = None) -> httpx2.Response:
        return await self.client.request(method, path, json=body, headers=self.headers)

    async def post(self, path: str, **body: object) -> httpx2.Response:
        return await self.send("POST", path, body)

    async def get(self, path: str) -> httpx2.Response:
        return await self.send("GET", path)

    async def sign_up(self, email: str, **other: object) -> httpx2.Response:
        asked = {"email": email, "password": PASSWORD, "name": "Ada", "organization": "Engines", **other}
        return await self.post("/v1/auth/signup", **asked)

    async def log_in(self, email: str, password: str = PASSWORD, **other: object) -> httpx2.Response:
        answer = await self.post("/v1/auth/login", email=email, password=password, **other)
        return self._let_in(answer)

    async def verify(self, token: str, password: str = PASSWORD) -> httpx2.Response:
        return self._let_in(await self.post("/v1/auth/verify-email", token=token, password=password))

    def _let_in(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.status_code == 200 and "access_token" in answer.json():
            self.access_token = answer.json()["access_token"]
        return answer


def guest(client: httpx2.AsyncClient, address: str | None = None) -> Guest:
    """Somebody new, from an address of their own."""
    number = next(_addresses)
    return Guest(client, address or f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")


def account_settings(
    url: str,
    office: PostOffice | None = None,
    *,
    passwords: PasswordSettings = CHEAP,
    accounts: AccountSettings | None = None,
    mail: MailSettings | None = None,
) -> Settings:
    plain = settings_for(url)
    if mail is None:
        mail = MailSettings(tls="none", first_pause_seconds=0.05)
        if office is not None:
            mail = mail.model_copy(update={"host": "127.0.0.1", "port": office.port})
    return plain.model_copy(
        update={
            "passwords": passwords,
            # So few failures are forgiven with time that it makes no difference how long a test takes.
            "accounts": accounts or AccountSettings(mails_per_hour=1000, failures_per_hour=FORGIVEN_PER_HOUR),
            "mail": mail,
            "dapr": plain.dapr.model_copy(update={"app_api_token": SecretStr(SIDECARS_TOKEN)}),
        }
    )


@asynccontextmanager
async def gateway(settings: Settings, sidecar: FakeSidecar) -> AsyncGenerator[tuple[FastAPI, httpx2.AsyncClient]]:
    app = create_app(settings, sidecar)
    async with running(app) as client:
        yield app, client


async def member(client: httpx2.AsyncClient, office: PostOffice, email: str, **other: object) -> Guest:
    """Somebody who signed up, proved the address and is logged in."""
    somebody = guest(client)
    before = len(office.to(email))
    assert (await somebody.sign_up(email, **other)).status_code == 202
    assert (await somebody.verify(await office.token_to(email, after=before))).status_code == 200
    return somebody
