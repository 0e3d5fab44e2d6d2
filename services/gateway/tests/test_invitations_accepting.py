"""The other end of the link: who becomes a member by it, how often, and who does not."""

from __future__ import annotations

import asyncio

import httpx2
from crewmesh_gateway.invitations.accepting import Accepting
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import Settings
from crewmesh_kit.db.database import Database
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .inside import change, held, rows
from .people import Somebody, audited, founder, last_token, logged_in, member, newcomer

ADDRESS = "ada@example.org"


async def invited(client: httpx2.AsyncClient, app: FastAPI, by: Somebody, **more: object) -> tuple[str, str]:
    """The id and the token of a new invitation."""
    sent = await client.post("/v1/invitations", json={"email": ADDRESS, **more}, headers=by.headers)
    assert sent.status_code == 201, sent.text
    return sent.json()["id"], await last_token(app)


async def guest(app: FastAPI, email: str = ADDRESS, *, verified: bool = True) -> Somebody:
    """Somebody who is logged in, in an organization of their own."""
    user = await newcomer(app, email=email, verified=verified)
    home = await founder(app, "Home")
    await change(
        app, "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, 'viewer')", home.organization, user
    )
    return await logged_in(app, user, home.organization)


async def accept(client: httpx2.AsyncClient, who: Somebody, token: str) -> httpx2.Response:
    return await client.post("/v1/invitations/accept", json={"token": token}, headers=who.headers)


async def membership(app: FastAPI, organization: str, user: str) -> list[str]:
    found = await rows(app, "SELECT role FROM memberships WHERE org_id = %s AND user_id = %s", organization, user)
    return [each["role"] for each in found]


async def test_accepting_makes_a_member_with_role_and_teams(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        team = (await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)).json()["id"]
        lost = (await client.post("/v1/teams", json={"name": "Lost"}, headers=olga.headers)).json()["id"]
        invitation, token = await invited(client, app, olga, role="editor", teams=[team, lost, team])
        await client.delete(f"/v1/teams/{lost}", headers=olga.headers)
        ada = await guest(app, "Ada@Example.org")
        joined = await accept(client, ada, token)
        assert joined.status_code == 200
        assert joined.json() == {"organization": olga.organization, "name": "Hill and Daughters", "role": "editor"}
        there = await logged_in(app, ada.id, olga.organization)
        me = (await client.get("/v1/me", headers=there.headers)).json()
        assert (me["role"], me["teams"]) == ("editor", [team])
        shown = (await client.get(f"/v1/invitations/{invitation}", headers=olga.headers)).json()
        assert (shown["status"], shown["accepted_by"]) == ("accepted", ada.id)
        refused = await client.delete(f"/v1/invitations/{invitation}", headers=olga.headers)
        assert refused.status_code == 409
        assert "invitation.accepted" in await audited(app, sidecar, olga.organization)
        again = await accept(client, ada, token)
        assert (again.status_code, again.json()) == (200, joined.json())


async def test_accepted_fifty_times_at_once_it_makes_one_member(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        _, token = await invited(client, app, olga, role="editor")
        ada = await guest(app)
        answers = await asyncio.gather(*(accept(client, ada, token) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1
        assert await membership(app, olga.organization, ada.id) == ["editor"]
        assert (await audited(app, sidecar, olga.organization)).count("invitation.accepted") == 1


async def test_only_the_verified_owner_of_the_address_accepts(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        _, token = await invited(client, app, olga, role="owner")
        for stranger in (
            await guest(app, "eve@example.org"),
            await guest(app, "ada@example.org.evil.example"),
            await guest(app, verified=False),
        ):
            refused = await accept(client, stranger, token)
            assert refused.status_code == 403
            assert refused.json()["type"].endswith("/invitation-for-another")
            assert ADDRESS not in refused.text
            assert await membership(app, olga.organization, stranger.id) == []


async def test_what_is_over_lets_nobody_in(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        ada = await guest(app)
        invitation, token = await invited(client, app, olga)
        await change(app, "UPDATE invitations SET expires_at = now(), sent_at = now() - interval '1 hour'")
        expired = await accept(client, ada, token)
        assert (expired.status_code, expired.json()["invitation"]) == (409, "expired")
        await client.delete(f"/v1/invitations/{invitation}", headers=olga.headers)
        revoked = await accept(client, ada, token)
        assert (revoked.status_code, revoked.json()["invitation"]) == (409, "revoked")
        _, token = await invited(client, app, olga)
        await client.request("DELETE", "/v1/organization", json={"confirm": "Hill and Daughters"}, headers=olga.headers)
        deleting = await accept(client, ada, token)
        assert deleting.json()["type"].endswith("/organization-deleting")
        assert await membership(app, olga.organization, ada.id) == []


async def test_an_old_link_brings_nobody_back(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        _, token = await invited(client, app, olga, role="admin")
        ada = await guest(app)
        await accept(client, ada, token)
        assert (await client.delete(f"/v1/members/{ada.id}", headers=olga.headers)).status_code == 204
        again = await accept(client, ada, token)
        assert (again.status_code, again.json()["invitation"]) == (409, "accepted")
        assert await membership(app, olga.organization, ada.id) == []


async def test_of_accepting_and_revoking_at_once_one_wins(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        ada = await guest(app)
        for _ in range(10):
            await change(app, "DELETE FROM memberships WHERE org_id = %s AND user_id = %s", olga.organization, ada.id)
            await change(app, "UPDATE invitations SET sent_at = now() - interval '1 hour'")
            invitation, token = await invited(client, app, olga)
            accepted, revoked = await asyncio.gather(
                accept(client, ada, token), client.delete(f"/v1/invitations/{invitation}", headers=olga.headers)
            )
            assert (accepted.status_code, revoked.status_code) in ((200, 409), (409, 204))
            is_member = bool(await membership(app, olga.organization, ada.id))
            assert is_member == (accepted.status_code == 200)


async def test_who_is_a_member_by_now_keeps_the_role_they_have(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        _, token = await invited(client, app, olga, role="admin")
        ada = await guest(app)
        await change(
            app, "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, 'viewer')", olga.organization, ada.id
        )
        assert (await accept(client, ada, token)).json()["role"] == "viewer"


async def test_the_link_opens_a_page_that_accepts_nothing(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app, "<script>alert(1)</script> {{7*7}}", name="Olga <b>")
        _, token = await invited(client, app, olga)
        page = await client.get("/v1/invitations/accept", params={"token": token, "fbclid": "x"})
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "&lt;script&gt;alert(1)&lt;/script&gt; {{7*7}}" in page.text
        assert "Olga &lt;b&gt;" in page.text
        assert "<script" not in page.text
        assert [each["status"] for each in await listed(client, olga)] == ["open"]
        await change(app, "UPDATE invitations SET expires_at = now()")
        assert "has expired" in (await client.get("/v1/invitations/accept", params={"token": token})).text
        unknown = await client.get("/v1/invitations/accept", params={"token": "x" * 43})
        assert unknown.status_code == 404
        assert unknown.headers["content-type"].startswith("text/html")
        for wrong in ({}, {"token": ""}, {"token": "x" * 201}):
            assert (await client.get("/v1/invitations/accept", params=wrong)).status_code == 400


async def listed(client: httpx2.AsyncClient, by: Somebody) -> list[dict[str, str]]:
    return (await client.get("/v1/invitations", headers=by.headers)).json()["items"]


async def test_guessing_links_is_slowed_down(settings: Settings, sidecar: FakeSidecar) -> None:
    throttle = settings.throttle.model_copy(update={"burst": 3, "per_second": 0.01})
    app = create_app(settings.model_copy(update={"throttle": throttle}), sidecar)
    async with running(app) as client:
        olga = await founder(app)
        ada = await guest(app)
        for number in range(3):
            wrong = {"token": f"guess {number}"}
            path = "accept" if number else "look-up"
            answer = await client.post(f"/v1/invitations/{path}", json=wrong, headers=ada.headers)
            assert answer.status_code == 404
        for path in ("accept", "look-up"):
            slowed = await client.post(f"/v1/invitations/{path}", json={"token": "another"}, headers=ada.headers)
            assert slowed.status_code == 429
            assert int(slowed.headers["retry-after"]) > 1
        assert (await client.get("/v1/organization", headers=olga.headers)).status_code == 200
        shapes: list[object] = [{"token": {"a": 1}}, {"token": ""}, {"token": "x" * 10_000}, {"token": None}, {}]
        for body in shapes:
            answer = await client.post("/v1/invitations/look-up", json=body)
            assert answer.status_code == 422


async def test_signing_up_accepts_in_its_own_transaction(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        _, token = await invited(client, app, olga, role="editor")
        user = await newcomer(app, email=ADDRESS)
        async with held(app, Database).system() as conn:
            assert await held(app, Accepting).accept(conn, token, user) == olga.organization
        assert await membership(app, olga.organization, user) == ["editor"]


async def test_the_name_of_who_left_is_not_shown(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        adam = await member(app, olga.organization, "admin", name="Adam")
        _, token = await invited(client, app, adam)
        shown = await client.post("/v1/invitations/look-up", json={"token": token})
        assert shown.json()["invited_by"] == "Adam"
        await client.post("/v1/organization/leave", headers=adam.headers)
        shown = await client.post("/v1/invitations/look-up", json={"token": token})
        assert (shown.json()["invited_by"], shown.json()["status"]) == (None, "revoked")
