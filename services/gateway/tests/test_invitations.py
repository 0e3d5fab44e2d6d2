"""Invitations: who may send what to whom, and what becomes of the link."""

from __future__ import annotations

import asyncio
import time

import httpx2
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .inside import change, rows
from .people import Somebody, audited, founder, last_token, mails, member

ADDRESS = "ada@example.org"


def impatient(settings: Settings, sidecar: FakeSidecar) -> FastAPI:
    """A gateway that lets one send again at once."""
    hasty = settings.invitations.model_copy(update={"resend_seconds": 0.0})
    return create_app(settings.model_copy(update={"invitations": hasty}), sidecar)


async def invite(client: httpx2.AsyncClient, by: Somebody, email: str = ADDRESS, **more: object) -> httpx2.Response:
    return await client.post("/v1/invitations", json={"email": email, **more}, headers=by.headers)


async def look_up(client: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await client.post("/v1/invitations/look-up", json={"token": token})


async def test_an_invitation_is_a_mail_with_a_link(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app, "Hill {{7*7}} & <b>Daughters</b>", name="Olga __proto__")
        sent = await invite(client, olga, role="editor")
        assert sent.status_code == 201
        invitation = sent.json()
        assert sent.headers["location"] == f"/v1/invitations/{invitation['id']}"
        assert (invitation["status"], invitation["role"], invitation["invited_by"]) == ("open", "editor", olga.id)
        [(to, subject, text)] = await mails(app)
        token = await last_token(app)
        assert to == ADDRESS
        assert "Hill {{7*7}} & <b>Daughters</b>" in text, "as it is"
        assert "Olga __proto__ invites you" in text
        assert "Hill" not in subject
        assert token not in sent.text
        [stored] = await rows(app, "SELECT token_sha256, email FROM invitations")
        assert token.encode() not in bytes(stored["token_sha256"])
        shown = (await look_up(client, token)).json()
        assert shown == {
            "organization": "Hill {{7*7}} & <b>Daughters</b>",
            "invited_by": "Olga __proto__",
            "email": ADDRESS,
            "status": "open",
            "expires_at": invitation["expires_at"],
        }
        assert "invitation.created" in await audited(app, sidecar, olga.organization)
        lines = [str(event.data) for event in sidecar.published_on("audit")]
        assert not any(token in line for line in lines)


async def test_one_open_invitation_per_address(settings: Settings, sidecar: FakeSidecar) -> None:
    app = impatient(settings, sidecar)
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        first = (await invite(client, olga)).json()["id"]
        for same in (ADDRESS, "ADA@Example.ORG", f" {ADDRESS} "):
            refused = await invite(client, olga, same)
            assert refused.status_code == 409
            assert refused.json()["type"].endswith("/invitation-open")
            assert refused.json()["invitation"] == first
        assert (await invite(client, other)).status_code == 201, "each organization for itself"
        races = await asyncio.gather(*(invite(client, olga, "bea@example.org") for _ in range(20)))
        assert sorted(answer.status_code for answer in races) == [201, *[409] * 19]
        once = {**olga.headers, "idempotency-key": "once"}
        same_key = [
            await client.post("/v1/invitations", json={"email": "eva@example.org"}, headers=once) for _ in range(2)
        ]
        assert same_key[0].json() == same_key[1].json()
        await change(app, "UPDATE invitations SET expires_at = now() WHERE id = %s", first)
        assert (await client.get(f"/v1/invitations/{first}", headers=olga.headers)).json()["status"] == "expired"
        assert (await invite(client, olga)).status_code == 201, "one that expired gives way"
        mia = await member(app, olga.organization, "viewer", email="Mia@example.org")
        there = await invite(client, olga, "mia@example.org")
        assert there.status_code == 409
        assert there.json()["user"] == mia.id


async def test_nobody_invites_to_more_than_they_hold(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        actors = {role: await member(app, olga.organization, role) for role in ("viewer", "editor", "admin", "owner")}
        may = {("admin", "viewer"), ("admin", "editor"), ("admin", "admin")}
        for actor in actors:
            for role in actors:
                sent = await invite(client, actors[actor], f"{actor}.{role}@example.org", role=role)
                assert sent.status_code == (201 if actor == "owner" or (actor, role) in may else 403), (actor, role)
        role = await client.post(
            "/v1/roles",
            json={"name": "Inviter", "permissions": ["members:write", "members:read", "runs:read"]},
            headers=olga.headers,
        )
        inviter = await member(app, olga.organization, role.json()["id"])
        team = (await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)).json()["id"]
        theirs = (await client.post("/v1/teams", json={"name": "Ops"}, headers=other.headers)).json()["id"]
        own = role.json()["id"]
        assert (await invite(client, inviter, "a@example.org", role="viewer")).status_code == 403
        placed = await invite(client, inviter, "b@example.org", role=own, teams=[team])
        assert placed.status_code == 403
        assert "teams:write" in placed.json()["detail"]
        assert (await invite(client, inviter, "c@example.org", role=own)).status_code == 201
        for unknown in (theirs, "team_" + "0" * 32, "__proto__"):
            assert (await invite(client, olga, "d@example.org", teams=[unknown])).status_code == 404
        foreign = await client.post(
            "/v1/roles", json={"name": "R", "permissions": ["runs:read"]}, headers=other.headers
        )
        assert (await invite(client, olga, "d@example.org", role=foreign.json()["id"])).status_code == 404


async def test_what_is_no_address_is_refused(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        wrong: list[object] = [
            *("", "ada", "@", "ada@", "@example.org", "ada@example.org\nBcc: b@example.org", "a b@example.org"),
            *("ada@[127.0.0.1]", "Ada <ada@example.org>", "a" * 300 + "@example.org", "a@example.org\x00"),
            *(None, {"a": 1}, ["ada@example.org"], 7),
        ]
        for email in wrong:
            answer = await client.post("/v1/invitations", json={"email": email}, headers=olga.headers)
            assert answer.status_code == 422, email
        shapes: list[dict[str, object]] = [
            {"email": ADDRESS, "role": {"a": 1}},
            {"email": ADDRESS, "teams": "x"},
            {"email": ADDRESS, "teams": [{"a": 1}]},
            {"email": ADDRESS, "teams": ["x"] * 51},
            {"email": ADDRESS, "token": "mine"},
        ]
        for body in shapes:
            assert (await client.post("/v1/invitations", json=body, headers=olga.headers)).status_code == 422
        assert await mails(app) == []


async def test_another_mail_kills_the_link_before(settings: Settings, sidecar: FakeSidecar) -> None:
    app = impatient(settings, sidecar)
    async with running(app) as client:
        olga = await founder(app)
        invitation = (await invite(client, olga)).json()
        first = await last_token(app)
        await change(app, "UPDATE invitations SET expires_at = now()")
        again = await client.post(f"/v1/invitations/{invitation['id']}/resend", headers=olga.headers)
        assert again.status_code == 200
        assert again.json()["status"] == "open"
        assert again.json()["expires_at"] > invitation["expires_at"]
        second = await last_token(app)
        assert second != first
        assert (await look_up(client, first)).status_code == 404
        assert (await look_up(client, second)).json()["status"] == "open"
        assert "invitation.resent" in await audited(app, sidecar, olga.organization)


async def test_nobodys_letter_box_is_filled(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        invitation = (await invite(client, olga)).json()["id"]
        soon = await client.post(f"/v1/invitations/{invitation}/resend", headers=olga.headers)
        assert soon.status_code == 429
        assert 1 <= int(soon.headers["retry-after"]) <= 60
        assert (await client.delete(f"/v1/invitations/{invitation}", headers=olga.headers)).status_code == 204
        anew = await invite(client, olga, "ADA@example.org")
        assert anew.status_code == 429, "nor by revoking and inviting again"
        assert len(await mails(app)) == 1
        await change(app, "UPDATE invitations SET sent_at = now() - interval '61 s'")
        assert (await invite(client, olga)).status_code == 201


async def test_an_organization_is_no_way_to_send_mails_to_everybody(settings: Settings, sidecar: FakeSidecar) -> None:
    few = settings.invitations.model_copy(update={"mails_per_hour": 3.0, "resend_seconds": 0.0})
    app = create_app(settings.model_copy(update={"invitations": few}), sidecar)
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        began = time.monotonic()
        first = (await invite(client, olga, "a0@example.org")).json()["id"]
        assert (await client.post(f"/v1/invitations/{first}/resend", headers=olga.headers)).status_code == 200
        assert (await client.delete(f"/v1/invitations/{first}", headers=olga.headers)).status_code == 204
        assert (await invite(client, olga, "a1@example.org")).status_code == 201
        for refused in (
            await invite(client, olga, "a2@example.org"),
            await client.post(f"/v1/invitations/{first}/resend", headers=olga.headers),
        ):
            assert refused.status_code == 429
            assert refused.json()["type"].endswith("/too-many-invitations")
            assert 1199 - (time.monotonic() - began) <= int(refused.headers["retry-after"]) <= 1200
        assert len(await mails(app)) == 3
        assert (await invite(client, other, "a0@example.org")).status_code == 201


async def test_a_revoked_invitation_is_over(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        invitation = (await invite(client, olga)).json()["id"]
        token = await last_token(app)
        for _ in range(2):
            assert (await client.delete(f"/v1/invitations/{invitation}", headers=olga.headers)).status_code == 204
        assert (await look_up(client, token)).json()["status"] == "revoked"
        again = await client.post(f"/v1/invitations/{invitation}/resend", headers=olga.headers)
        assert again.status_code == 409
        assert again.json()["invitation"] == "revoked"
        assert (await audited(app, sidecar, olga.organization)).count("invitation.revoked") == 1


async def test_lists_and_other_organizations(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        viewer = await member(app, olga.organization, "viewer")
        for name in ("a", "b", "c"):
            await invite(client, olga, f"{name}@example.org")
        theirs = (await invite(client, other)).json()["id"]
        page = (await client.get("/v1/invitations?limit=2", headers=viewer.headers)).json()
        rest = (await client.get(f"/v1/invitations?cursor={page['next_cursor']}", headers=viewer.headers)).json()
        assert [each["email"][0] for each in [*page["items"], *rest["items"]]] == ["c", "b", "a"]
        await client.delete(f"/v1/invitations/{page['items'][0]['id']}", headers=olga.headers)
        for status, number in (("open", 2), ("revoked", 1), ("expired", 0), ("accepted", 0)):
            found = (await client.get(f"/v1/invitations?status={status}", headers=viewer.headers)).json()
            assert len(found["items"]) == number
        details: set[str] = set()
        for unknown in (theirs, "inv_" + "0" * 32, "__proto__"):
            for answer in (
                await client.get(f"/v1/invitations/{unknown}", headers=olga.headers),
                await client.post(f"/v1/invitations/{unknown}/resend", headers=olga.headers),
                await client.delete(f"/v1/invitations/{unknown}", headers=olga.headers),
            ):
                assert answer.status_code == 404
                details.add(answer.json()["detail"])
        assert len(details) == 1
        for answer in (
            await client.delete(f"/v1/invitations/{theirs}", headers=viewer.headers),
            await invite(client, viewer, "x@example.org"),
        ):
            assert answer.status_code == 403


async def test_whoever_goes_or_sinks_takes_their_invitations_along(app: FastAPI) -> None:
    """Nobody leaves a door open for themselves under another address."""
    async with running(app) as client:
        olga = await founder(app)
        gone, sunk = [await member(app, olga.organization, "admin") for _ in range(2)]
        for actor, name in ((gone, "g"), (sunk, "s"), (olga, "o")):
            assert (await invite(client, actor, f"{name}@example.org", role="viewer")).status_code == 201
        await client.delete(f"/v1/members/{gone.id}", headers=olga.headers)
        await client.patch(f"/v1/members/{sunk.id}", json={"role": "editor"}, headers=olga.headers)
        shown = (await client.get("/v1/invitations", headers=olga.headers)).json()["items"]
        assert {each["email"]: each["status"] for each in shown} == {
            "g@example.org": "revoked",
            "s@example.org": "revoked",
            "o@example.org": "open",
        }
