"""What somebody may not do any more ends at once, at every replica, however long credentials are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from crewmesh_gateway.api_keys.errors import CredentialInvalid
from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_gateway.main import create_app
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.repository import PrincipalRepository
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.settings import KeySettings, Settings
from crewmesh_kit.db.database import Database
from crewmesh_kit.signals import Signals
from crewmesh_testkit import FakeSidecar, running
from crewmesh_testkit.servers import running_valkey
from fastapi import FastAPI
from httpx2 import AsyncClient

from .credentials import Json, Member, member
from .gateway import BEARER, KEY, bearer, until
from .inside import held

# What is remembered is remembered for 300 s: whoever is refused within this was told, and did not just forget.
AT_ONCE = 60.0


@dataclass
class Replica:
    app: FastAPI
    client: AsyncClient

    async def permissions(self, headers: dict[str, str]) -> list[str] | int:
        """What these headers allow here, or the status of the refusal."""
        answer = await self.client.get("/v1/me", headers=headers)
        return answer.json()["permissions"] if answer.status_code == 200 else answer.status_code


def remembering(settings: Settings, seconds: float) -> Settings:
    return settings.model_copy(update={"keys": KeySettings(cache_seconds=seconds)})


@pytest.fixture
async def replicas(settings: Settings, sidecar: FakeSidecar) -> AsyncGenerator[list[Replica]]:
    """Two that hear each other and remember for five minutes."""
    async with AsyncExitStack() as stack:
        started: list[Replica] = []
        for _ in range(2):
            app = create_app(remembering(settings, 300), sidecar)
            started.append(Replica(app, await stack.enter_async_context(running(app))))
        one, other = (held(each.app, Signals) for each in started)
        for sender, hearer in ((one, other), (other, one)):
            async with hearer.listen("warm-up") as listener:

                async def heard(
                    sender: Signals = sender, changed: Callable[[float], Awaitable[bool]] = listener.changed
                ):
                    await sender.notify("warm-up")
                    return await changed(0.2)

                await until(heard)
        yield started


async def ends(there: Replica, headers: dict[str, str], wanted: list[str] | int) -> None:
    async def so() -> bool:
        return await there.permissions(headers) == wanted

    await until(so, seconds=AT_ONCE)


async def key_of(here: Replica, who: Member, *scopes: str, **more: object) -> Json:
    wanted = {"name": "k", "scopes": scopes, **more}
    answer = await here.client.post("/v1/api-keys", headers=who.headers, json=wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_revoked_key_ends_at_the_other_replica(replicas: list[Replica]) -> None:
    here, there = replicas
    key = await key_of(here, await member(here.app, "admin"), "runs:read")
    headers = bearer(key["key"])
    assert await there.permissions(headers) == ["runs:read"]
    assert (await here.client.delete(f"/v1/api-keys/{key['id']}", headers=BEARER)).status_code == 204
    assert await here.permissions(headers) == 401
    await ends(there, headers, 401)


async def test_another_role_holds_at_the_other_replica(replicas: list[Replica]) -> None:
    here, there = replicas
    admin = await member(here.app, "admin", scopes=["members:write", "runs:read"])
    assert await there.permissions(admin.headers) == ["members:write", "runs:read"]
    changed = await here.client.patch(f"/v1/members/{admin.user}", headers=BEARER, json={"role": "viewer"})
    assert changed.status_code == 200, changed.text
    assert await here.permissions(admin.headers) == ["runs:read"]
    await ends(there, admin.headers, ["runs:read"])


async def test_a_removed_member_is_out_at_the_other_replica(replicas: list[Replica]) -> None:
    here, there = replicas
    editor = await member(here.app, "editor")
    assert await there.permissions(editor.headers) != 401
    assert (await here.client.delete(f"/v1/members/{editor.user}", headers=BEARER)).status_code == 204
    assert await here.permissions(editor.headers) == 401
    await ends(there, editor.headers, 401)


async def test_a_service_accounts_role_holds_at_the_other_replica(replicas: list[Replica]) -> None:
    here, there = replicas
    new = {"name": "Robot", "role": "editor"}
    account = (await here.client.post("/v1/service-accounts", headers=BEARER, json=new)).json()
    owner = await member(here.app, "owner")
    headers = bearer((await key_of(here, owner, "runs:write", "runs:read", service_account=account["id"]))["key"])
    path, match = f"/v1/service-accounts/{account['id']}", {**BEARER, "if-match": "*"}
    assert await there.permissions(headers) == ["runs:read", "runs:write"]
    await here.client.patch(path, headers=match, json={"role": "viewer"})
    await ends(there, headers, ["runs:read"])
    await here.client.delete(path, headers=BEARER)
    await ends(there, headers, 401)


async def test_what_was_rolled_back_is_remembered_on(replicas: list[Replica]) -> None:
    here, _ = replicas
    principals = held(here.app, Principals)
    known = await principals.whose(KEY.text, address="a")

    async def begun_and_given_up() -> None:
        async with held(here.app, Database).system() as conn:
            principals.forget_with(conn, known.credential)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await begun_and_given_up()
    assert await principals.whose(KEY.text, address="a") is known


async def test_without_valkey_the_seconds_are_the_limit(settings: Settings, sidecar: FakeSidecar) -> None:
    sidecar.secrets["redis-url"] = "redis://127.0.0.1:1/0"
    here_app, there_app = (create_app(remembering(settings, 1), sidecar) for _ in range(2))
    async with running(here_app) as here_client, running(there_app) as there_client:
        here, there = Replica(here_app, here_client), Replica(there_app, there_client)
        editor = await member(here.app, "editor")
        assert await there.permissions(editor.headers) != 401
        await here.client.delete(f"/v1/api-keys/{editor.key_id}", headers=BEARER)
        assert await here.permissions(editor.headers) == 401, "this replica needs no news"

        async def out() -> bool:
            return await there.permissions(editor.headers) == 401

        await until(out)


async def test_what_was_missed_without_valkey_is_made_up_for_when_it_is_back(
    settings: Settings, sidecar: FakeSidecar, tmp_path: Path
) -> None:
    with running_valkey(tmp_path) as (server, process):
        sidecar.secrets["redis-url"] = server.url
        here_app, there_app = (create_app(remembering(settings, 300), sidecar) for _ in range(2))
        async with running(here_app) as here_client, running(there_app) as there_client:
            here, there = Replica(here_app, here_client), Replica(there_app, there_client)
            editor = await member(here.app, "editor")
            principals = held(there.app, Principals)

            async def remembered() -> bool:
                known = await principals.whose(editor.key.text, address="a")
                return await principals.whose(editor.key.text, address="a") is known

            await until(remembered)
            process.stop()
            await here.client.delete(f"/v1/api-keys/{editor.key_id}", headers=BEARER)
            process.start()

            async def out() -> bool:
                return await there.permissions(editor.headers) == 401

            await until(out)


class Paused:
    """Look-ups read at once and tell later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = asyncio.Event()
        self.tell = asyncio.Event()
        by_key = PrincipalRepository.by_key

        async def paused(repository: PrincipalRepository, shown: PresentedKey) -> Principal | None:
            found = await by_key(repository, shown)
            self.read.set()
            await self.tell.wait()
            return found

        monkeypatch.setattr(PrincipalRepository, "by_key", paused)


async def revoke(app: FastAPI, who: Member) -> None:
    async with held(app, Database).system() as conn:
        await conn.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", [who.key_id])
        held(app, Principals).forget_with(conn, who.key_id)


class TestALookUpOnItsWay:
    @pytest.fixture
    async def gateway(self, settings: Settings, sidecar: FakeSidecar) -> AsyncGenerator[FastAPI]:
        app = create_app(remembering(settings, 300), sidecar)
        async with running(app):
            yield app

    async def test_is_not_remembered(self, gateway: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        editor, paused = await member(gateway, "editor"), Paused(monkeypatch)
        principals = held(gateway, Principals)
        early = asyncio.create_task(principals.whose(editor.key.text, address="a"))
        await asyncio.wait_for(paused.read.wait(), 60)
        await revoke(gateway, editor)
        paused.tell.set()
        assert (await early).credential == editor.key_id, "it came before"
        with pytest.raises(CredentialInvalid):
            await principals.whose(editor.key.text, address="a")

    async def test_is_not_shared_with_who_comes_after(self, gateway: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        editor, paused = await member(gateway, "editor"), Paused(monkeypatch)
        principals = held(gateway, Principals)
        early = asyncio.create_task(principals.whose(editor.key.text, address="a"))
        await asyncio.wait_for(paused.read.wait(), 60)
        await revoke(gateway, editor)
        late = asyncio.create_task(principals.whose(editor.key.text, address="a"))
        await asyncio.sleep(0)
        paused.tell.set()
        assert (await early).credential == editor.key_id
        with pytest.raises(CredentialInvalid):
            await late
