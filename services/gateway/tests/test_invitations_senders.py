"""Who may not invite any more takes their open invitations along, in whatever way it came about."""

from __future__ import annotations

import httpx2
from crewmesh_testkit import running
from fastapi import FastAPI

from .gateway import bearer
from .people import Somebody, founder, last_token, member
from .test_invitations_accepting import accept, guest, membership
from .test_organization_transfer import owner_with_password, transfer

ADDRESS = "second.mailbox@example.org"
INVITES = ["members:read", "members:write", "runs:read"]


async def invite(client: httpx2.AsyncClient, headers: dict[str, str], role: str, email: str = ADDRESS) -> None:
    sent = await client.post("/v1/invitations", json={"email": email, "role": role}, headers=headers)
    assert sent.status_code == 201, sent.text


async def patch(client: httpx2.AsyncClient, by: Somebody, path: str, **wanted: object) -> None:
    answer = await client.patch(path, json=wanted, headers={**by.headers, "If-Match": "*"})
    assert answer.status_code == 200, answer.text


async def statuses(client: httpx2.AsyncClient, by: Somebody) -> list[str]:
    shown = (await client.get("/v1/invitations", headers=by.headers)).json()["items"]
    return [each["status"] for each in shown]


async def refused_at_the_door(client: httpx2.AsyncClient, app: FastAPI, organization: str) -> None:
    """Whoever has the mailbox gets nowhere with the link."""
    token, late = await last_token(app), await guest(app, ADDRESS)
    assert (await accept(client, late, token)).status_code == 409
    assert await membership(app, organization, late.id) == []


async def sender(client: httpx2.AsyncClient, by: Somebody, role: str) -> tuple[str, dict[str, str]]:
    """A service account that may invite, and the headers of its key."""
    made = await client.post("/v1/service-accounts", json={"name": "Inviter", "role": role}, headers=by.headers)
    wanted = {"name": "k", "scopes": INVITES, "service_account": made.json()["id"]}
    key = await client.post("/v1/api-keys", json=wanted, headers=by.headers)
    assert key.status_code == 201, key.text
    return made.json()["id"], bearer(key.json()["key"])


async def custom_role(client: httpx2.AsyncClient, by: Somebody, name: str, permissions: list[str]) -> str:
    made = await client.post("/v1/roles", json={"name": name, "permissions": permissions}, headers=by.headers)
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def test_who_handed_over_an_organization_left_no_way_back(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await owner_with_password(app)
        heir = await member(app, olga.organization, "admin")
        await invite(client, olga.headers, "owner")
        assert (await transfer(client, olga, heir.id)).status_code == 204
        assert await statuses(client, heir) == ["revoked"]
        await refused_at_the_door(client, app, olga.organization)


async def test_what_a_deleted_service_account_sent_is_over(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        custom = await custom_role(client, olga, "Inviters", INVITES)
        account, headers = await sender(client, olga, custom)
        await invite(client, headers, custom)
        assert (await client.delete(f"/v1/service-accounts/{account}", headers=olga.headers)).status_code == 204
        assert await statuses(client, olga) == ["revoked"]
        await refused_at_the_door(client, app, olga.organization)


async def test_what_a_service_account_sent_is_over_when_its_role_sinks(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        custom = await custom_role(client, olga, "Inviters", INVITES)
        account, headers = await sender(client, olga, custom)
        await invite(client, headers, custom)
        there = f"/v1/service-accounts/{account}"
        await patch(client, olga, there, role="admin")
        assert await statuses(client, olga) == ["open"], "it may do all that it might before"
        await patch(client, olga, there, role="viewer")
        assert await statuses(client, olga) == ["revoked"]
        await refused_at_the_door(client, app, olga.organization)


async def test_what_was_sent_with_a_custom_role_is_over_when_that_sinks(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        custom = await custom_role(client, olga, "Inviters", INVITES)
        same = await custom_role(client, olga, "Inviters too", INVITES)
        mia = await member(app, olga.organization, custom)
        _, headers = await sender(client, olga, custom)
        await invite(client, olga.headers, same, "of.somebody.else@example.org")
        await invite(client, headers, same, "third.mailbox@example.org")
        await invite(client, mia.headers, same)
        there = f"/v1/roles/{custom}"
        await patch(client, olga, there, permissions=[*INVITES, "runs:write"])
        assert await statuses(client, olga) == ["open"] * 3
        await patch(client, olga, there, permissions=["members:read", "runs:read", "runs:write"])
        assert await statuses(client, olga) == ["revoked", "revoked", "open"]
        await refused_at_the_door(client, app, olga.organization)
