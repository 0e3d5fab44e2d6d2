"""Who gets in, who does not, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import psycopg
import pytest
from crewmesh_gateway.main import create_app
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.settings import KeySettings, Settings, ThrottleSettings
from crewmesh_kit.db.database import Database
from crewmesh_kit.signals import Signals
from crewmesh_testkit import APP_API_TOKEN, FakeSidecar, running
from fastapi import FastAPI
from psycopg.abc import QueryNoTemplate
from pydantic import SecretStr

from .gateway import BEARER, KEY, Upstream, bearer, key_of, until
from .inside import held

OTHER = key_of("otherkey", "o" * 43)


async def other_organization(app: FastAPI) -> None:
    async with held(app, Database).system() as connection:
        await connection.execute("INSERT INTO organizations (id, name) VALUES ('org_2', 'Other')")
        await connection.execute("INSERT INTO users (id, name) VALUES ('usr_2', 'Somebody else')")
        await connection.execute("INSERT INTO memberships (org_id, user_id, role) VALUES ('org_2', 'usr_2', 'viewer')")
        await connection.execute(
            "INSERT INTO api_keys (id, org_id, user_id, name, prefix, secret_sha256, permissions)"
            " VALUES ('key_2', 'org_2', 'usr_2', 'k', %s, %s, '{runs:read}')",
            (OTHER.prefix, OTHER.digest()),
        )


@pytest.mark.parametrize("path", ["/v1/me", "/v1/runs", "/v1/knowledge-bases/handbook", "/v1/crews"])
async def test_without_a_key_nothing_opens_and_the_answer_says_where_one_is(app: FastAPI, path: str) -> None:
    async with running(app) as client:
        answer = await client.get(path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "credentials.json" in answer.json()["detail"]
    assert "first-run-api-key" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer nonsense"},
        bearer(OTHER.text),
        bearer(key_of(KEY.prefix, "x" * 43).text),
        {"authorization": f"Bearer cm_{KEY.prefix}_{'s' * 43}"},
        {"authorization": f"Basic {KEY.text}"},
        {"authorization": KEY.text},
        {"x-api-key": "nonsense"},
        {"authorization": "Bearer ключ".encode().decode("latin-1")},
        {"authorization": "Bearer " + "x" * 10_000},
        {"authorization": "Bearer"},
        {"authorization": "Bearer nonsense", "x-api-key": KEY.text},
        {"cookie": f"key={KEY.text}"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/me", "/v1/runs"])
async def test_a_wrong_key_is_no_key(app: FastAPI, upstream: Upstream, path: str, headers: dict[str, str]) -> None:
    async with running(app) as client:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await client.get(path, headers=raw)
    assert answer.status_code == 401
    assert answer.json()["type"].endswith("/unauthenticated")
    assert upstream.seen == []


@pytest.mark.parametrize("headers", [BEARER, {"x-api-key": KEY.text}, {"authorization": f"bearer  {KEY.text} "}])
async def test_me_says_who_the_key_speaks_for(app: FastAPI, headers: dict[str, str]) -> None:
    async with running(app) as client:
        me = (await client.get("/v1/me", headers=headers)).json()
    assert me["organization"]["name"] == "My organization"
    assert me["user"] | {"id": ""} == {"id": "", "name": "Owner", "email": None, "email_verified": False}
    assert (me["role"], me["permissions"], me["teams"]) == ("owner", ["*"], [])
    assert me["key"] | {"id": "", "created_at": ""} == {
        "id": "",
        "name": "First key",
        "prefix": KEY.prefix,
        "created_at": "",
        "last_used_at": None,
        "expires_at": None,
    }
    assert "s" * 43 not in str(me)


async def test_a_key_speaks_for_its_own_organization_only(app: FastAPI) -> None:
    async with running(app) as client:
        await other_organization(app)
        me = (await client.get("/v1/me", headers={"x-api-key": OTHER.text})).json()
        async with held(app, Database).tenant("org_2") as connection:
            for table, column in (
                ("organizations", "id"),
                ("users", "id"),
                ("api_keys", "id"),
                ("memberships", "user_id"),
            ):
                cursor = await connection.execute(f"SELECT {column} AS id FROM {table}".encode())
                assert [row["id"].endswith("_2") for row in await cursor.fetchall()] == [True], table
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute("UPDATE memberships SET org_id = 'org_1'")
            await connection.rollback()
    assert me["organization"] == {"id": "org_2", "name": "Other"}
    assert (me["role"], me["permissions"]) == ("viewer", ["runs:read"])


@pytest.mark.parametrize(
    "text", [KEY.text[:-1], KEY.text + "x", KEY.text.replace("sss", "sst", 1), "cm_live_", "cm_x_y"]
)
async def test_a_mistyped_key_is_told_apart_without_a_query_or_a_lost_try(
    settings: Settings, sidecar: FakeSidecar, text: str
) -> None:
    throttled = settings.model_copy(update={"throttle": ThrottleSettings(burst=1, per_second=0.001)})
    async with running(create_app(throttled, sidecar)) as client:
        for _ in range(3):
            answer = await client.get("/v1/me", headers={"x-api-key": text})
            assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (401, "api-key-mistyped")
            assert "copy it again" in answer.json()["detail"]


async def test_the_last_use_is_written_down_later(settings: Settings, sidecar: FakeSidecar) -> None:
    settings = settings.model_copy(update={"keys": KeySettings(last_use_seconds=0.05)})
    async with running(create_app(settings, sidecar)) as client:

        async def noted() -> bool:
            return (await client.get("/v1/me", headers=BEARER)).json()["key"]["last_used_at"] is not None

        await until(noted)


async def test_the_last_use_is_not_lost_at_the_end(settings: Settings, sidecar: FakeSidecar) -> None:
    async with running(create_app(settings, sidecar)) as client:
        await client.get("/v1/me", headers=BEARER)
    async with running(create_app(settings, sidecar)) as client:
        assert (await client.get("/v1/me", headers=BEARER)).json()["key"]["last_used_at"] is not None


async def test_guessing_is_slow_and_does_not_lock_out_the_good(settings: Settings, sidecar: FakeSidecar) -> None:
    throttled = settings.model_copy(update={"throttle": ThrottleSettings(burst=3, per_second=0.001)})
    async with running(create_app(throttled, sidecar)) as client:
        assert (await client.get("/v1/me", headers=BEARER)).status_code == 200
        statuses = [(await client.get("/v1/me", headers={"x-api-key": f"guess{n}"})).status_code for n in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        refused = await client.get("/v1/runs", headers={"x-api-key": "guess"})
        assert int(refused.headers["retry-after"]) > 1
        assert (await client.get("/v1/me", headers=BEARER)).status_code == 200


async def test_only_the_sidecar_may_name_the_client(settings: Settings, sidecar: FakeSidecar) -> None:
    dapr = settings.dapr.model_copy(update={"app_api_token": SecretStr(APP_API_TOKEN)})
    update = {"throttle": ThrottleSettings(burst=1, per_second=0.001), "dapr": dapr}
    async with running(create_app(settings.model_copy(update=update), sidecar)) as client:

        async def guess(address: str, **headers: str) -> int:
            sent = {"x-api-key": "guess", "x-real-ip": address, **headers}
            return (await client.get("/v1/me", headers=sent)).status_code

        token = {"dapr-api-token": APP_API_TOKEN}
        assert [await guess("192.0.2.1", **token), await guess("192.0.2.2", **token)] == [401, 401]
        assert await guess("192.0.2.1", **token) == 429
        assert await guess("192.0.2.3") == 401, "the peer's own first try"
        assert await guess("192.0.2.4") == 429, "a spoofed address does not help"
        assert await guess("2001:db8:1:2::1", **token) == 401
        assert await guess("2001:db8:1:2:3:4:5:6", **token) == 429, (
            "whoever has one address of IPv6 has all its network"
        )
        assert await guess("2001:db8:1:3::1", **token) == 401


async def test_many_requests_with_one_cold_key_share_one_query(
    settings: Settings, sidecar: FakeSidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings.model_copy(update={"keys": KeySettings(cache_seconds=300)}), sidecar)
    async with running(app):
        principals = held(app, Principals)
        await asyncio.wait_for(held(app, Signals).begun.wait(), 60)
        asked = 0
        statement = Database.statement

        def counted(self: Database, query: QueryNoTemplate, parameters: Mapping[str, object] | None = None):
            nonlocal asked
            asked += b"k.prefix = %(prefix)s" in cast(bytes, query)
            return statement(self, query, parameters)

        monkeypatch.setattr(Database, "statement", counted)
        found = await asyncio.gather(*(principals.whose(KEY.text, address="a") for _ in range(50)))
        assert len(set(map(id, found))) == 1
        assert asked == 1
        assert await principals.whose(KEY.text, address="a") is found[0]
        assert asked == 1, "what is known costs no query"
