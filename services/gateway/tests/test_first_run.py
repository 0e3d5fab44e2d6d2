"""The first start founds one organization, once, however many replicas start however often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import Settings
from crewmesh_testkit import FakeSidecar, running
from psycopg.rows import TupleRow

from .gateway import BEARER, KEY, bearer, settings_for, until


async def rows(url: str, statement: str) -> list[TupleRow]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SET app.org_id = '*'")
        return await (await connection.execute(statement.encode())).fetchall()


async def test_two_replicas_that_start_together_found_one_organization(
    database_url: Callable[[str], str], valkey: str
) -> None:
    url = database_url("gateway")
    secrets = {"first-run-api-key": KEY.text, "redis-url": valkey}
    sidecars = [FakeSidecar("gateway", secrets=secrets) for _ in range(2)]

    async def start(sidecar: FakeSidecar) -> str:
        async with running(create_app(settings_for(url), sidecar)) as client:
            answer = await client.get("/v1/me", headers=BEARER)
            await until(lambda: any(each.published for each in sidecars))
            return answer.json()["organization"]["id"]

    first, second = await asyncio.gather(*map(start, sidecars))
    assert first == second == await start(sidecars[0])
    for table in ("organizations", "users", "memberships", "api_keys"):
        assert await rows(url, f"SELECT count(*) FROM {table}") == [(1,)], table
    published = [event for sidecar in sidecars for event in sidecar.published_on("organizations")]
    # A replica that stops between publishing and noting it publishes again; by its id the event is still one.
    assert {(event.type, event.crewmeshorg) for event in published} == {("crewmesh.organization.created.v1", first)}
    assert len({event.id for event in published}) == 1


async def test_the_database_holds_no_secret(settings: Settings, sidecar: FakeSidecar) -> None:
    async with running(create_app(settings, sidecar)):
        assert settings.database.url is not None
        url = settings.database.url.get_secret_value()
        for table in ("organizations", "users", "memberships", "api_keys", "outbox"):
            assert "s" * 43 not in str(await rows(url, f"SELECT * FROM {table}"))


async def test_a_secret_that_is_no_key_stops_the_first_start_without_showing_it(settings: Settings) -> None:
    sidecar = FakeSidecar("gateway", secrets={"first-run-api-key": "hunter2"})
    with pytest.raises(ValueError, match="first-run-api-key") as refused:
        async with running(create_app(settings, sidecar)):
            pass
    assert "hunter2" not in str(refused.value)


async def test_later_starts_do_not_need_the_secret(settings: Settings, sidecar: FakeSidecar, valkey: str) -> None:
    async with running(create_app(settings, sidecar)):
        pass
    async with running(create_app(settings, FakeSidecar("gateway", secrets={"redis-url": valkey}))) as client:
        assert (await client.get("/v1/me", headers=BEARER)).status_code == 200


async def test_a_secret_store_from_before_keys_had_checksums_still_opens_the_door(
    settings: Settings, sidecar: FakeSidecar
) -> None:
    former = "cm_0123456789ab_" + "Az-_" * 10 + "xyz"
    sidecar.secrets["first-run-api-key"] = former
    headers = bearer(former)
    async with running(create_app(settings, sidecar)) as client:
        assert (await client.get("/v1/me", headers=headers)).status_code == 200
    async with running(create_app(settings, sidecar)) as client:
        me = (await client.get("/v1/me", headers=headers)).json()
        rotated = (await client.post(f"/v1/api-keys/{me['key']['id']}/rotate", headers=headers, json={})).json()
    assert (me["key"]["prefix"], me["permissions"]) == ("0123456789ab", ["*"])
    assert rotated["key"].startswith("cm_live_")
