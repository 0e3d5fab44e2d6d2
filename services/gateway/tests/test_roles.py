"""Roles and permissions: the catalogue, custom roles, and that none is a way to more than one holds."""

from __future__ import annotations

import asyncio

import httpx2
from crewmesh_contracts.permissions import PERMISSIONS, of_role
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .inside import change
from .people import Somebody, audited, founder, member


async def created(client: httpx2.AsyncClient, by: Somebody, name: str, *permissions: str) -> httpx2.Response:
    return await client.post("/v1/roles", json={"name": name, "permissions": permissions}, headers=by.headers)


def any_version(who: Somebody) -> dict[str, str]:
    return {**who.headers, "if-match": "*"}


async def test_the_catalogue_tells_every_permission_and_the_built_in_roles(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        viewer = await member(app, olga.organization, "viewer")
        shown = (await client.get("/v1/permissions", headers=viewer.headers)).json()
        assert [each["name"] for each in shown["permissions"]] == [each.name for each in PERMISSIONS]
        assert all(each["about"] for each in shown["permissions"])
        assert [each["id"] for each in shown["roles"]] == ["viewer", "editor", "admin", "owner"]
        assert shown["roles"][-1]["permissions"] == ["*"]
        assert (await client.get("/v1/permissions")).status_code == 401
        admin = (await client.get("/v1/roles/admin", headers=viewer.headers)).json()
        assert set(admin["permissions"]) == of_role("admin")
        assert admin["built_in"] is True


async def test_custom_roles_come_after_the_built_in_ones_in_pages(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        for name in ("A", "B", "C"):
            await created(client, olga, name, "runs:read")
        await created(client, other, "Theirs", "runs:read")
        names: list[str] = []
        query = "/v1/roles?limit=2"
        while query:
            page = (await client.get(query, headers=olga.headers)).json()
            names += [each["name"] for each in page["items"]]
            query = f"/v1/roles?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        assert names == ["viewer", "editor", "admin", "owner", "A", "B", "C"]


async def test_a_custom_role_allows_what_it_says_and_a_change_holds_at_once(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        made = await created(client, olga, "Approver", "approvals:read", "runs:read", "runs:read")
        assert made.status_code == 201
        role = made.json()["id"]
        assert made.headers["location"] == f"/v1/roles/{role}"
        assert made.json()["permissions"] == ["approvals:read", "runs:read"]
        mia = await member(app, olga.organization, role)
        assert (await client.get("/v1/me", headers=mia.headers)).json()["permissions"] == [
            "approvals:read",
            "runs:read",
        ]
        assert (await client.get("/v1/teams", headers=mia.headers)).status_code == 403
        change = {"permissions": ["members:read"]}
        unread = await client.patch(f"/v1/roles/{role}", json=change, headers=olga.headers)
        assert unread.status_code == 428
        tagged = {**olga.headers, "if-match": made.headers["etag"]}
        changed = await client.patch(f"/v1/roles/{role}", json=change, headers=tagged)
        assert changed.json()["version"] == 2
        assert (await client.get("/v1/teams", headers=mia.headers)).status_code == 200
        assert (await client.patch(f"/v1/roles/{role}", json=change, headers=tagged)).status_code == 412
        actions = await audited(app, sidecar, olga.organization)
        assert [each for each in actions if each.startswith("role.")] == ["role.created", "role.updated"]


async def test_nobody_makes_changes_or_deletes_a_role_beyond_their_own(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        adam = await member(app, olga.organization, "admin")
        maker_role = (await created(client, olga, "Role maker", "roles:read", "roles:write", "runs:read")).json()["id"]
        maker = await member(app, olga.organization, maker_role)
        greater = (await created(client, olga, "Deleter", "organization:delete", "runs:read")).json()["id"]
        for actor, wanted in (
            (adam, ["organization:delete"]),
            (adam, ["data:write", "runs:read"]),
            (maker, ["runs:write"]),
            (maker, ["runs:read", "members:write"]),
        ):
            refused = await created(client, actor, "More", *wanted)
            assert refused.status_code == 403
            assert refused.json()["type"].endswith("/more-than-you-hold")
            assert refused.json()["permissions"] == sorted({*wanted} - {"runs:read"})
            own = await client.patch(
                f"/v1/roles/{maker_role}", json={"permissions": wanted}, headers=any_version(actor)
            )
            assert own.status_code == 403, "nor by changing a role that one has"
        for actor in (adam, maker):
            for answer in (
                await client.patch(f"/v1/roles/{greater}", json={"name": "Mine"}, headers=any_version(actor)),
                await client.patch(
                    f"/v1/roles/{greater}", json={"permissions": ["runs:read"]}, headers=any_version(actor)
                ),
                await client.delete(f"/v1/roles/{greater}", headers=actor.headers),
            ):
                assert answer.status_code == 403
        assert (await created(client, maker, "Reader", "runs:read")).status_code == 201
        editor = await member(app, olga.organization, "editor")
        assert (await created(client, editor, "Mine", "runs:read")).status_code == 403


async def test_what_is_not_in_the_catalogue_is_no_permission(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        for wanted in ("*", "runs:*", "everything", "__proto__", "", "RUNS:READ", "{{7*7}}"):
            refused = await created(client, olga, "x", wanted)
            assert refused.status_code == 422, wanted
        shapes: list[object] = [
            {"name": "x", "permissions": []},
            {"name": "x", "permissions": "runs:read"},
            {"name": "x", "permissions": {"runs:read": True}},
            {"name": "x", "permissions": [{"a": 1}]},
            {"name": {"a": 1}, "permissions": ["runs:read"]},
            {"name": "x", "permissions": ["runs:read"], "built_in": True},
            {"name": "Owner", "permissions": ["runs:read"]},
            {"name": "x" * 10_000, "permissions": ["runs:read"]},
            {"name": "x", "about": "y" * 10_000, "permissions": ["runs:read"]},
            {"name": "a\u202eb", "permissions": ["runs:read"]},
        ]
        for body in shapes:
            assert (await client.post("/v1/roles", json=body, headers=olga.headers)).status_code == 422, body


async def test_names_are_kept_as_they_are_and_given_once(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        for name in ("__proto__", "constructor", "{{7*7}}", "שלום\u200f"):
            made = await created(client, olga, name, "runs:read")
            assert made.json()["name"] == name
            twice = await created(client, olga, name, "runs:read")
            assert twice.status_code == 409
            assert twice.json()["type"].endswith("/role-exists")
            assert (await created(client, other, name, "runs:read")).status_code == 201
        made = (await created(client, olga, "Another", "runs:read")).json()["id"]
        renamed = await client.patch(f"/v1/roles/{made}", json={"name": "{{7*7}}"}, headers=any_version(olga))
        assert renamed.status_code == 409
        for null in ("name", "about", "permissions"):
            answer = await client.patch(f"/v1/roles/{made}", json={null: None}, headers=any_version(olga))
            assert answer.status_code == 422
        races = await asyncio.gather(*(created(client, olga, "Raced", "runs:read") for _ in range(10)))
        assert sorted(answer.status_code for answer in races) == [201, *[409] * 9]


async def test_a_role_that_somebody_has_stays(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        role = (await created(client, olga, "R", "runs:read")).json()["id"]
        mia = await member(app, olga.organization, role)
        invited = await client.post(
            "/v1/invitations", json={"email": "a@example.org", "role": role}, headers=olga.headers
        )
        await change(
            app,
            "INSERT INTO service_accounts (id, org_id, name, role, created_by) VALUES ('sva_1', %s, 'S', %s, 'x')",
            olga.organization,
            role,
        )
        refused = await client.delete(f"/v1/roles/{role}", headers=olga.headers)
        assert refused.status_code == 409
        assert refused.json()["users"] == {"members": 1, "service_accounts": 1, "open_invitations": 1}
        assert "1 members, 1 service accounts, 1 open invitations" in refused.json()["detail"]
        await client.patch(f"/v1/members/{mia.id}", json={"role": "viewer"}, headers=olga.headers)
        await client.delete(f"/v1/invitations/{invited.json()['id']}", headers=olga.headers)
        await change(app, "DELETE FROM service_accounts")
        assert (await client.delete(f"/v1/roles/{role}", headers=olga.headers)).status_code == 204
        assert (await client.delete(f"/v1/roles/{role}", headers=olga.headers)).status_code == 404
        assert "role.deleted" in await audited(app, sidecar, olga.organization)


async def test_giving_a_role_while_it_is_deleted_leaves_nobody_with_none(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        mia = await member(app, olga.organization, "viewer")
        for turn in range(10):
            role = (await created(client, olga, f"R{turn}", "runs:read")).json()["id"]
            given, gone = await asyncio.gather(
                client.patch(f"/v1/members/{mia.id}", json={"role": role}, headers=olga.headers),
                client.delete(f"/v1/roles/{role}", headers=olga.headers),
            )
            assert (given.status_code, gone.status_code) in ((200, 409), (404, 204))
            await client.patch(f"/v1/members/{mia.id}", json={"role": "viewer"}, headers=olga.headers)


async def test_built_in_roles_and_those_of_others_cannot_be_touched(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        theirs = (await created(client, other, "Theirs", "runs:read")).json()["id"]
        for role in ("viewer", "editor", "admin", "owner"):
            for answer in (
                await client.patch(f"/v1/roles/{role}", json={"about": "x"}, headers=any_version(olga)),
                await client.delete(f"/v1/roles/{role}", headers=olga.headers),
            ):
                assert answer.status_code == 409
                assert answer.json()["type"].endswith("/built-in-role")
        details: set[str] = set()
        for role in (theirs, "role_" + "0" * 32):
            for answer in (
                await client.get(f"/v1/roles/{role}", headers=olga.headers),
                await client.patch(f"/v1/roles/{role}", json={"about": "x"}, headers=any_version(olga)),
                await client.delete(f"/v1/roles/{role}", headers=olga.headers),
            ):
                assert answer.status_code == 404
                details.add(answer.json()["detail"].replace(role, "…"))
        assert len(details) == 1
