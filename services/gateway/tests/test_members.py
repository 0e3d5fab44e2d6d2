"""Members: who is seen, whose role may be changed by whom, and that an organization always has an owner."""

from __future__ import annotations

import asyncio
from itertools import product

import httpx2
import pytest
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import KeySettings, Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .credentials import with_key
from .gateway import until
from .inside import change, rows
from .people import Somebody, audited, founder, logged_in, member, newcomer

RACES = 50


async def role_of(app: FastAPI, who: Somebody) -> str | None:
    found = await rows(app, "SELECT role FROM memberships WHERE org_id = %s AND user_id = %s", who.organization, who.id)
    return found[0]["role"] if found else None


async def set_role(client: httpx2.AsyncClient, by: Somebody, who: Somebody, role: str) -> httpx2.Response:
    return await client.patch(f"/v1/members/{who.id}", json={"role": role}, headers=by.headers)


async def removed(client: httpx2.AsyncClient, by: Somebody, who: Somebody) -> httpx2.Response:
    return await client.delete(f"/v1/members/{who.id}", headers=by.headers)


async def left(client: httpx2.AsyncClient, who: Somebody) -> httpx2.Response:
    return await client.post("/v1/organization/leave", headers=who.headers)


async def custom_role(client: httpx2.AsyncClient, by: Somebody, name: str, *permissions: str) -> str:
    made = await client.post("/v1/roles", json={"name": name, "permissions": permissions}, headers=by.headers)
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def test_members_are_listed_filtered_and_found(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        await founder(app, "Elsewhere", name="Not here")
        viewers = [await member(app, olga.organization, "viewer", name=f"Vera {n}") for n in range(3)]
        ed = await member(app, olga.organization, "editor", name="Ed", email="Ed.Hill@Example.org")
        team = (await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)).json()["id"]
        await client.put(f"/v1/teams/{team}/members/{ed.id}", headers=olga.headers)

        async def names(query: str) -> list[str]:
            answer = await client.get(f"/v1/members?{query}", headers=viewers[0].headers)
            assert answer.status_code == 200, answer.text
            return [each["name"] for each in answer.json()["items"]]

        assert sorted(await names("")) == ["Ed", "Olga", "Vera 0", "Vera 1", "Vera 2"]
        assert sorted(await names("role=viewer")) == ["Vera 0", "Vera 1", "Vera 2"]
        assert await names(f"team={team}") == ["Ed"]
        assert await names("q=ed.hill") == ["Ed"]
        assert await names("q=VERA%201") == ["Vera 1"]
        assert await names("q=%25") == [], "no pattern, but a text"
        assert await names("role=owner&q=vera") == []
        first = (await client.get("/v1/members?limit=4", headers=olga.headers)).json()
        assert len(first["items"]) == 4
        rest = (await client.get(f"/v1/members?limit=4&cursor={first['next_cursor']}", headers=olga.headers)).json()
        assert len(rest["items"]) == 1
        assert rest["next_cursor"] is None
        shown = (await client.get(f"/v1/members/{ed.id}", headers=viewers[0].headers)).json()
        assert (shown["email"], shown["role"], shown["teams"]) == ("Ed.Hill@Example.org", "editor", [team])


async def test_roles_are_given_within_what_one_holds(app: FastAPI, sidecar: FakeSidecar) -> None:
    """Every built-in role tries to give every role to a member of every role."""
    order = ("viewer", "editor", "admin", "owner")
    async with running(app) as client:
        olga = await founder(app)
        actors = {role: await member(app, olga.organization, role) for role in order}
        target = await member(app, olga.organization, "viewer")
        for actor, before, after in product(order, order, order):
            await change(app, "UPDATE memberships SET role = %s WHERE user_id = %s", before, target.id)
            answer = await set_role(client, actors[actor], target, after)
            rank = order.index
            may = rank(actor) >= rank("admin") and rank(before) <= rank(actor) and rank(after) <= rank(actor)
            assert answer.status_code == (200 if may else 403), (actor, before, after)
            assert await role_of(app, target) == (after if may else before)
            if not may:
                slug = "more-than-you-hold" if actor == "admin" else "permission-denied"
                assert answer.json()["type"].endswith(f"/{slug}")
        assert "member.role-changed" in await audited(app, sidecar, olga.organization)


async def test_a_new_role_holds_at_once(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        mia = await member(app, olga.organization, "viewer")
        assert (await client.post("/v1/teams", json={"name": "a"}, headers=mia.headers)).status_code == 403
        assert (await set_role(client, olga, mia, "admin")).json()["role"] == "admin"
        assert (await client.post("/v1/teams", json={"name": "a"}, headers=mia.headers)).status_code == 201
        assert (await set_role(client, olga, mia, "viewer")).status_code == 200
        assert (await client.post("/v1/teams", json={"name": "b"}, headers=mia.headers)).status_code == 403


async def test_custom_roles_are_no_way_up(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        inviter = await custom_role(client, olga, "Inviter", "members:read", "members:write")
        approver = await custom_role(client, olga, "Approver", "approvals:read", "approvals:decide")
        ivo = await member(app, olga.organization, inviter)
        mia = await member(app, olga.organization, inviter)
        adam = await member(app, olga.organization, "admin")
        for role in ("viewer", "editor", "admin", "owner", approver):
            assert (await set_role(client, ivo, mia, role)).status_code == 403, role
            assert (await set_role(client, ivo, ivo, role)).status_code == 403, role
        for greater in (adam, olga):
            assert (await removed(client, ivo, greater)).status_code == 403
            assert (await set_role(client, ivo, greater, inviter)).status_code == 403
        assert (await set_role(client, ivo, mia, inviter)).status_code == 200
        assert (await removed(client, ivo, mia)).status_code == 204
        assert (await set_role(client, adam, ivo, approver)).status_code == 200


async def test_a_scoped_key_gives_no_more_than_it_was_made_for(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        mia = await member(app, olga.organization, "viewer")
        headers = (await with_key(app, olga.organization, olga.id, scopes=["members:read", "members:write"])).headers
        for role in ("viewer", "admin", "owner"):
            answer = await client.patch(f"/v1/members/{mia.id}", json={"role": role}, headers=headers)
            assert answer.status_code == 403
            assert answer.json()["type"].endswith("/more-than-you-hold")
        invited = await client.post("/v1/invitations", json={"email": "a@example.org"}, headers=headers)
        assert invited.status_code == 403


async def test_what_is_no_role_of_this_organization_cannot_be_given(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        mia = await member(app, olga.organization, "viewer")
        theirs = await custom_role(client, other, "Theirs", "runs:read")
        for role in (theirs, "role_" + "0" * 32, "root", "*", "OWNER", "__proto__", "{{7*7}}"):
            answer = await set_role(client, olga, mia, role)
            assert answer.status_code == 404, role
            assert role in answer.json()["detail"]
        shapes: list[object] = [{"role": {"a": 1}}, {"role": None}, {"role": ""}, {}, {"role": "x" * 10_000}]
        for body in shapes:
            answer = await client.patch(f"/v1/members/{mia.id}", json=body, headers=olga.headers)
            assert answer.status_code == 422


async def test_whoever_is_removed_is_out_at_once_with_their_keys_and_their_places(
    settings: Settings, sidecar: FakeSidecar
) -> None:
    """On the other replica too."""
    settings = settings.model_copy(update={"keys": KeySettings(cache_seconds=300)})
    app, replica = create_app(settings, sidecar), create_app(settings, sidecar)
    async with running(app) as client, running(replica) as elsewhere:
        olga = await founder(app)
        mia = await member(app, olga.organization, "editor")
        key = await with_key(app, olga.organization, mia.id)
        team = (await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)).json()["id"]
        await client.put(f"/v1/teams/{team}/members/{mia.id}", headers=olga.headers)
        credentials = [mia.headers, key.headers]
        for headers in credentials:
            assert (await client.get("/v1/me", headers=headers)).status_code == 200
            assert (await elsewhere.get("/v1/me", headers=headers)).status_code == 200
        assert (await removed(client, olga, mia)).status_code == 204
        for headers in credentials:
            assert (await client.get("/v1/me", headers=headers)).status_code == 401

            async def is_out(shown: dict[str, str] = headers) -> bool:
                return (await elsewhere.get("/v1/me", headers=shown)).status_code == 401

            await until(is_out)
        assert await rows(app, "SELECT id FROM api_keys WHERE user_id = %s", mia.id) == []
        assert await rows(app, "SELECT team_id FROM team_members WHERE user_id = %s", mia.id) == []
        assert await rows(app, "SELECT last_org_id FROM users WHERE id = %s", mia.id) == [{"last_org_id": None}]
        assert (await removed(client, olga, mia)).status_code == 404
        assert "member.removed" in await audited(app, sidecar, olga.organization)


async def test_leaving_one_organization_leaves_the_others_alone(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        mia = await member(app, olga.organization, "viewer")
        await change(
            app, "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, 'editor')", other.organization, mia.id
        )
        there = await logged_in(app, mia.id, other.organization)
        assert (await left(client, mia)).status_code == 204
        assert (await client.get("/v1/me", headers=mia.headers)).status_code == 401
        assert (await client.get("/v1/me", headers=there.headers)).json()["role"] == "editor"
        assert "member.left" in await audited(app, sidecar, olga.organization)


async def test_the_last_owner_stays_until_somebody_else_is_one(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        adam = await member(app, olga.organization, "admin")
        for refused in (
            await left(client, olga),
            await removed(client, olga, olga),
            await set_role(client, olga, olga, "admin"),
        ):
            assert refused.status_code == 409
            assert refused.json()["type"].endswith("/last-owner")
            assert "transfer" in refused.json()["detail"]
        assert (await set_role(client, olga, adam, "owner")).status_code == 200
        assert (await left(client, olga)).status_code == 204
        assert await role_of(app, adam) == "owner"


async def goes(client: httpx2.AsyncClient, way: str, me: Somebody, them: Somebody) -> httpx2.Response:
    match way:
        case "leave":
            return await left(client, me)
        case "remove":
            return await removed(client, me, me)
        case "demote":
            return await set_role(client, me, me, "viewer")
        case _:
            return await removed(client, me, them)


@pytest.mark.parametrize("way", ["leave", "remove", "demote", "each other"])
async def test_of_two_owners_who_go_at_once_one_stays(app: FastAPI, way: str) -> None:
    async with running(app) as client:
        olga, oscar = await founder(app), await founder(app, "Elsewhere")
        for _ in range(RACES if way == "leave" else 10):
            await change(app, "DELETE FROM memberships WHERE org_id = %s", olga.organization)
            for owner in (olga, oscar):
                await change(
                    app,
                    "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, 'owner')",
                    olga.organization,
                    owner.id,
                )
            one, other = [await logged_in(app, who.id, olga.organization) for who in (olga, oscar)]
            answers = await asyncio.gather(goes(client, way, one, other), goes(client, way, other, one))
            owners = await rows(
                app, "SELECT 1 AS one FROM memberships WHERE org_id = %s AND role = 'owner'", olga.organization
            )
            assert len(owners) == 1
            told = sorted(answer.status_code for answer in answers)
            assert told[0] in (200, 204)
            assert told[1] in (401, 403, 409), "too late: not an owner any more, or the last one"


async def test_other_organizations_members_do_not_exist_here(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        nobody = Somebody("usr_" + "0" * 32, "", "", {})
        stranger = Somebody(await newcomer(app), "", "", {})
        team = (await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)).json()["id"]
        theirs = (await client.post("/v1/teams", json={"name": "Ops"}, headers=other.headers)).json()["id"]
        for who in (other, nobody, stranger):
            answers = [
                await client.get(f"/v1/members/{who.id}", headers=olga.headers),
                await set_role(client, olga, who, "viewer"),
                await removed(client, olga, who),
                await client.put(f"/v1/teams/{team}/members/{who.id}", headers=olga.headers),
                await client.delete(f"/v1/teams/{team}/members/{who.id}", headers=olga.headers),
            ]
            assert [answer.status_code for answer in answers] == [404] * 5
            details = {answer.json()["detail"].replace(who.id, "…") for answer in answers}
            assert len(details) == 1, "the same answer for whoever is not here"
        assert (await client.get(f"/v1/members?team={theirs}", headers=olga.headers)).json()["items"] == []
        assert (await client.get("/v1/members/%00", headers=olga.headers)).status_code in (400, 404)
        assert await role_of(app, other) == "owner"
