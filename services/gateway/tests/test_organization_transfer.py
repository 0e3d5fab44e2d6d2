"""Handing an organization over."""

from __future__ import annotations

import asyncio

import httpx2
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from .inside import change, rows
from .people import Somebody, audited, founder, member, newcomer

PASSWORD = "correct horse battery staple"
HASH = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),)).hash(PASSWORD)


async def owner_with_password(app: FastAPI) -> Somebody:
    olga = await founder(app)
    await change(app, "UPDATE users SET password_hash = %s WHERE id = %s", HASH, olga.id)
    return olga


async def transfer(client: httpx2.AsyncClient, by: Somebody, to: str, password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/v1/organization/transfer", json={"user": to, "password": password}, headers=by.headers)


async def roles(app: FastAPI, organization: str) -> dict[str, str]:
    found = await rows(app, "SELECT user_id, role FROM memberships WHERE org_id = %s", organization)
    return {each["user_id"]: each["role"] for each in found}


async def test_the_heir_is_the_owner_and_the_former_one_an_admin(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await owner_with_password(app)
        mia = await member(app, olga.organization, "viewer")
        wrong = await transfer(client, olga, mia.id, "not the password")
        assert wrong.status_code in (401, 403)
        assert await roles(app, olga.organization) == {olga.id: "owner", mia.id: "viewer"}
        assert (await transfer(client, olga, mia.id)).status_code == 204
        assert await roles(app, olga.organization) == {olga.id: "admin", mia.id: "owner"}
        assert (await client.get("/v1/me", headers=mia.headers)).json()["permissions"] == ["*"]
        assert (await client.get("/v1/me", headers=olga.headers)).json()["role"] == "admin"
        assert (await transfer(client, olga, mia.id)).status_code == 403
        assert (await audited(app, sidecar, olga.organization)).count("member.role-changed") == 2


async def test_an_heir_is_another_member(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await owner_with_password(app), await founder(app, "Elsewhere")
        themselves = await transfer(client, olga, olga.id)
        assert themselves.status_code == 409
        assert themselves.json()["type"].endswith("/owner-already")
        for stranger in (other.id, await newcomer(app), "usr_" + "0" * 32, "__proto__"):
            assert (await transfer(client, olga, stranger)).status_code == 404
        assert await roles(app, olga.organization) == {olga.id: "owner"}


async def test_who_hands_over_twice_at_once_hands_over_once(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await owner_with_password(app)
        heirs = [await member(app, olga.organization, "viewer") for _ in range(4)]
        answers = await asyncio.gather(*(transfer(client, olga, heir.id) for heir in heirs))
        assert sorted(answer.status_code for answer in answers) == [204, 403, 403, 403]
        held = list((await roles(app, olga.organization)).values())
        assert sorted(held) == ["admin", "owner", "viewer", "viewer", "viewer"]


async def test_a_custom_role_with_the_permission_makes_no_owner(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        made = await client.post(
            "/v1/roles", json={"name": "Heir maker", "permissions": ["organization:transfer"]}, headers=olga.headers
        )
        maker = await member(app, olga.organization, made.json()["id"])
        await change(app, "UPDATE users SET password_hash = %s WHERE id = %s", HASH, maker.id)
        mia = await member(app, olga.organization, "viewer")
        refused = await transfer(client, maker, mia.id)
        assert refused.status_code == 403
        assert refused.json()["type"].endswith("/not-the-owner")
        assert (await roles(app, olga.organization))[mia.id] == "viewer"
