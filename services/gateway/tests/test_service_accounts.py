"""Service accounts over HTTP: nobody in particular, with a role, acting by keys."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from httpx2 import AsyncClient

from .credentials import Json, another_organization, member
from .gateway import BEARER, bearer, until

NEW: Json = {"name": "Shop backend", "role": "editor"}


async def account(client: AsyncClient, headers: dict[str, str] = BEARER, **changes: object) -> Json:
    answer = await client.post("/v1/service-accounts", headers=headers, json={**NEW, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def key_for(client: AsyncClient, owner: Json, *scopes: str, headers: dict[str, str] = BEARER) -> Json:
    wanted = {"name": "k", "scopes": scopes or ("runs:write",), "service_account": owner["id"]}
    answer = await client.post("/v1/api-keys", headers=headers, json=wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_service_account_acts_by_its_keys(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        answer = await client.post("/v1/service-accounts", headers=BEARER, json=NEW)
        made = answer.json()
        assert (answer.headers["location"], answer.headers["etag"]) == (f"/v1/service-accounts/{made['id']}", '"1"')
        key = await key_for(client, made, "runs:write", "runs:read")
        assert (key["user"], key["service_account"]) == (None, made["id"])
        me = (await client.get("/v1/me", headers=bearer(key["key"]))).json()
        assert (me["user"], me["service_account"]) == (None, {"id": made["id"], "name": "Shop backend"})
        assert (me["role"], me["permissions"], me["teams"]) == ("editor", ["runs:read", "runs:write"], [])
        listed = (await client.get("/v1/api-keys", headers=BEARER, params={"service_account": made["id"]})).json()
        assert [each["id"] for each in listed["items"]] == [key["id"]]


async def test_its_keys_make_keys_for_itself_alone(app: FastAPI) -> None:
    async with running(app) as client:
        made = await account(client, role="admin")
        key = await key_for(client, made, "api-keys:write", "api-keys:read", "runs:read")
        answer = await client.post(
            "/v1/api-keys", headers=bearer(key["key"]), json={"name": "second", "scopes": ["runs:read"]}
        )
        assert answer.json()["service_account"] == made["id"]
        rotated = await client.post(f"/v1/api-keys/{key['id']}/rotate", headers=bearer(key["key"]), json={})
        assert (rotated.status_code, rotated.json()["service_account"]) == (201, made["id"])


async def test_a_key_is_for_no_more_than_its_account_may(app: FastAPI) -> None:
    async with running(app) as client:
        made = await account(client, role="viewer")
        wanted = {"name": "k", "scopes": ["runs:read", "runs:write"], "service_account": made["id"]}
        answer = await client.post("/v1/api-keys", headers=BEARER, json=wanted)
        assert (answer.status_code, answer.json()["permissions"]) == (403, ["runs:write"])
        unknown = await client.post("/v1/api-keys", headers=BEARER, json={**wanted, "service_account": "sva_0"})
        assert (unknown.status_code, "service account" in unknown.json()["detail"]) == (404, True)


async def test_nobody_gives_a_role_that_allows_more_than_they_may(app: FastAPI) -> None:
    async with running(app) as client:
        narrow = await member(app, "admin", scopes=["api-keys:read", "api-keys:write", "runs:read"])
        answer = await client.post("/v1/service-accounts", headers=narrow.headers, json=NEW)
        assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (403, "more-than-you-hold")
        owner = await client.post("/v1/service-accounts", headers=BEARER, json={**NEW, "role": "owner"})
        nothing = await client.post("/v1/service-accounts", headers=BEARER, json={**NEW, "role": "role_0"})
        assert (owner.status_code, nothing.status_code) == (422, 404)


async def test_a_custom_role_holds_for_service_accounts(app: FastAPI) -> None:
    async with running(app) as client:
        role = {"name": "Starter", "permissions": ["runs:write"]}
        role_id = (await client.post("/v1/roles", headers=BEARER, json=role)).json()["id"]
        key = await key_for(client, await account(client, role=role_id))
        me = (await client.get("/v1/me", headers=bearer(key["key"]))).json()
        assert (me["role"], me["permissions"]) == (role_id, ["runs:write"])
        assert (await client.delete(f"/v1/roles/{role_id}", headers=BEARER)).status_code == 409


async def test_changing_needs_the_version_that_was_read_and_holds_at_once(app: FastAPI) -> None:
    async with running(app) as client:
        made = await account(client)
        key = await key_for(client, made)
        path, role = f"/v1/service-accounts/{made['id']}", {"role": "viewer"}
        assert (await client.get("/v1/me", headers=bearer(key["key"]))).json()["permissions"] == ["runs:write"]
        without = await client.patch(path, headers=BEARER, json=role)
        changed = await client.patch(path, headers={**BEARER, "if-match": '"1"'}, json=role)
        stale = await client.patch(path, headers={**BEARER, "if-match": '"1"'}, json={"name": "Other"})
        assert [each.status_code for each in (without, changed, stale)] == [428, 200, 412]
        assert (await client.get("/v1/me", headers=bearer(key["key"]))).json()["permissions"] == []
        same = await client.patch(path, headers={**BEARER, "if-match": '"2"'}, json=role)
        assert same.headers["etag"] == '"2"'


async def test_who_holds_less_than_an_account_does_not_change_its_role(app: FastAPI) -> None:
    async with running(app) as client:
        path = f"/v1/service-accounts/{(await account(client, role='admin'))['id']}"
        narrow = await member(app, "admin", scopes=["api-keys:write"])
        headers = {**narrow.headers, "if-match": "*"}
        assert (await client.patch(path, headers=headers, json={"role": "viewer"})).status_code == 403
        assert (await client.patch(path, headers=headers, json={"name": "Renamed"})).status_code == 200


async def test_names_are_taken_once(app: FastAPI) -> None:
    async with running(app) as client:
        await account(client)
        other = await account(client, name="Other")
        again = await client.post("/v1/service-accounts", headers=BEARER, json=NEW)
        renamed = await client.patch(
            f"/v1/service-accounts/{other['id']}", headers={**BEARER, "if-match": "*"}, json={"name": NEW["name"]}
        )
        elsewhere = await member(app, "owner", organization=await another_organization(app))
        assert (await account(client, elsewhere.headers))["name"] == NEW["name"]
    assert [each.status_code for each in (again, renamed)] == [409, 409]


async def test_equal_requests_with_one_idempotency_key_make_one_account(app: FastAPI) -> None:
    async with running(app) as client:
        headers = {**BEARER, "idempotency-key": "once"}
        answers = await asyncio.gather(
            *(client.post("/v1/service-accounts", headers=headers, json=NEW) for _ in range(20))
        )
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["id"] for each in answers}) == 1


async def test_deleting_one_ends_its_keys_at_once(app: FastAPI) -> None:
    async with running(app) as client:
        made = await account(client)
        keys = [await key_for(client, made) for _ in range(2)]
        for key in keys:
            assert (await client.get("/v1/me", headers=bearer(key["key"]))).status_code == 200
        assert (await client.delete(f"/v1/service-accounts/{made['id']}", headers=BEARER)).status_code == 204
        for key in keys:
            assert (await client.get("/v1/me", headers=bearer(key["key"]))).status_code == 401
        assert (await client.delete(f"/v1/service-accounts/{made['id']}", headers=BEARER)).status_code == 404


@pytest.mark.parametrize("body", [{"name": None}, {"role": "owner"}, {"role": None}, {"name": "\u0000"}, {"id": "x"}])
async def test_what_cannot_be_changed_is_refused_by_its_shape(app: FastAPI, body: Json) -> None:
    async with running(app) as client:
        path = f"/v1/service-accounts/{(await account(client))['id']}"
        assert (await client.patch(path, headers={**BEARER, "if-match": "*"}, json=body)).status_code == 422


async def test_another_organizations_account_is_one_that_is_not_there(app: FastAPI) -> None:
    async with running(app) as client:
        stranger = await member(app, "owner", organization=await another_organization(app))
        theirs, none = str((await account(client))["id"]), "sva_" + "0" * 32
        for method, body in (("GET", None), ("PATCH", {"name": "Mine"}), ("DELETE", None)):
            headers = {**stranger.headers, "if-match": "*"}
            told = [
                await client.request(method, f"/v1/service-accounts/{each}", headers=headers, json=body)
                for each in (theirs, none)
            ]
            assert [each.status_code for each in told] == [404, 404]
            assert told[0].json()["detail"].replace(theirs, none) == told[1].json()["detail"]
        wanted = {"name": "k", "scopes": ["runs:read"], "service_account": theirs}
        assert (await client.post("/v1/api-keys", headers=stranger.headers, json=wanted)).status_code == 404
        filtered = await client.get("/v1/api-keys", headers=stranger.headers, params={"service_account": theirs})
        assert filtered.json()["items"] == []
        assert (await client.get("/v1/service-accounts", headers=stranger.headers)).json()["items"] == []


async def test_every_change_is_told_to_the_audit_log_without_secrets(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        made = await account(client)
        key = await key_for(client, made)
        path = f"/v1/api-keys/{key['id']}"
        await client.patch(path, headers={**BEARER, "if-match": "*"}, json={"name": "Other"})
        rotated = (await client.post(f"{path}/rotate", headers=BEARER, json={})).json()
        await client.delete(path, headers=BEARER)
        await client.patch(
            f"/v1/service-accounts/{made['id']}", headers={**BEARER, "if-match": "*"}, json={"role": "viewer"}
        )
        await client.delete(f"/v1/service-accounts/{made['id']}", headers=BEARER)

        wanted = [
            ("service-account.created", made["id"]),
            ("api-key.created", key["id"]),
            ("api-key.updated", key["id"]),
            ("api-key.rotated", key["id"]),
            ("api-key.created", rotated["id"]),
            ("api-key.revoked", key["id"]),
            ("service-account.updated", made["id"]),
            ("service-account.deleted", made["id"]),
        ]
        await until(lambda: len(lines(sidecar)) == len(wanted))
        assert [(line["action"], line["resource"]) for line in lines(sidecar)] == wanted
        told = str(lines(sidecar))
        for shown in (key, rotated):
            assert str(shown["key"]).rsplit("_", 1)[1] not in told
        assert lines(sidecar)[-1]["before"] == {
            "name": NEW["name"],
            "role": "viewer",
            "keys": [key["id"], rotated["id"]],
        }


def lines(sidecar: FakeSidecar) -> list[Json]:
    """What the audit log is told about keys and service accounts."""
    told = [cast(Json, event.data) for _, event in sidecar.published if event.type.startswith("crewmesh.audit.")]
    return [line for line in told if str(line["action"]).startswith(("api-key", "service-account"))]
