"""People who belong to no organization: they left, were removed, or it was deleted. They get in and find a way on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import cast

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_gateway.main import create_app
from crewmesh_gateway.organizations.ending import Ending
from crewmesh_gateway.settings import KeySettings, Settings
from crewmesh_kit.http.openapi import public_openapi
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, Upstream, until
from .guests import CHEAP, PASSWORD, Guest, account_settings, guest, member
from .inside import change, held, rows
from .logins import cookies_of, refreshed
from .people import audited
from .post import PostOffice

EMAIL = "vera@example.org"
# What people may do whom no organization allows anything; what begins with /v1/auth too.
THEIR_OWN = {
    "GET /v1/me",
    "PATCH /v1/me",
    "POST /v1/me/login",
    "PUT /v1/me/password",
    "POST /v1/me/second-factor",
    "DELETE /v1/me/second-factor",
    "POST /v1/me/second-factor/confirm",
    "POST /v1/me/second-factor/recovery-codes",
    "GET /v1/me/sessions",
    "DELETE /v1/me/sessions/{session}",
    "GET /v1/organizations",
    "POST /v1/organizations",
    "POST /v1/invitations/accept",
    "POST /v1/invitations/look-up",
    "GET /v1/invitations/accept",
}


@dataclass
class Place:
    """A gateway, its post office, and the organization of the first run."""

    app: FastAPI
    client: httpx2.AsyncClient
    office: PostOffice
    organization: str

    async def invitation(self, email: str, role: str = "viewer") -> str:
        before = len(self.office.to(email))
        answer = await self.client.post("/v1/invitations", json={"email": email, "role": role}, headers=BEARER)
        assert answer.status_code == 201, answer.text
        return await self.office.token_to(email, after=before)

    async def remove(self, somebody: Guest) -> None:
        me = (await somebody.get("/v1/me")).json()["user"]["id"]
        assert (await self.client.delete(f"/v1/members/{me}", headers=BEARER)).status_code == 204

    async def newcomer(self, email: str = EMAIL) -> Guest:
        """Somebody who was invited here, signed up and is an editor."""
        return await member(self.client, self.office, email, invitation=await self._invited(email))

    async def _invited(self, email: str) -> str:
        answer = await self.client.post("/v1/invitations", json={"email": email, "role": "editor"}, headers=BEARER)
        assert answer.status_code == 201, answer.text
        return await self.office.token_to(email)

    async def removed(self) -> Guest:
        """Somebody who was removed from the only organization they were in, and logged in again."""
        vera = await self.newcomer()
        await self.remove(vera)
        assert (await vera.log_in(EMAIL)).json()["organization"] is None
        return vera


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    plain = account_settings(database_url("gateway"), office, passwords=CHEAP)
    return plain.model_copy(
        update={
            "invitations": plain.invitations.model_copy(update={"resend_seconds": 0.0}),
            "keys": KeySettings(cache_seconds=300),
        }
    )


@pytest.fixture
async def place(app: FastAPI, office: PostOffice) -> AsyncGenerator[Place]:
    async with running(app) as client:
        yield await opened(app, client, office)


async def opened(app: FastAPI, client: httpx2.AsyncClient, office: PostOffice) -> Place:
    me = (await client.get("/v1/me", headers=BEARER)).json()
    return Place(app, client, office, me["organization"]["id"])


def problem_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rsplit("/", 1)[1]


async def test_who_was_removed_goes_on_by_an_invitation(place: Place) -> None:
    vera = await place.newcomer()
    login = await vera.log_in(EMAIL)
    cookies, csrf = cookies_of(login), login.json()["csrf_token"]
    await place.remove(vera)
    assert (await vera.get("/v1/me")).status_code == 401
    answer = await refreshed(place.client, cookies["crewmesh_refresh"][0], csrf)
    assert (answer.status_code, answer.json()["organization"]) == (200, None)
    vera.access_token = answer.json()["access_token"]
    me = (await vera.get("/v1/me")).json()
    assert (me["user"]["email"], me["organization"], me["role"]) == (EMAIL, None, None)
    assert (me["permissions"], me["teams"], me["key"]) == ([], [], None)
    refused = await vera.get("/v1/members")
    assert problem_of(refused) == (403, "no-organization")
    assert "/v1/invitations/accept" in refused.json()["detail"]
    assert "/v1/organizations" in refused.json()["detail"]

    token = await place.invitation(EMAIL, "admin")
    assert (await vera.post("/v1/invitations/look-up", token=token)).json()["status"] == "open"
    joined = await vera.post("/v1/invitations/accept", token=token)
    assert (joined.status_code, joined.json()["organization"]) == (200, place.organization)
    assert problem_of(await vera.get("/v1/members")) == (403, "no-organization"), "this token is for none"
    switched = await vera.post("/v1/auth/organization", organization=place.organization)
    assert switched.status_code == 200
    vera.access_token = switched.json()["access_token"]
    assert (await vera.get("/v1/me")).json()["role"] == "admin"
    assert (await vera.get("/v1/members")).status_code == 200


async def test_who_left_founds_an_organization(place: Place, sidecar: FakeSidecar) -> None:
    vera = await place.newcomer()
    assert (await vera.post("/v1/organization/leave")).status_code == 204
    assert (await vera.log_in(EMAIL)).json()["organization"] is None
    assert (await vera.get("/v1/organizations")).json()["items"] == []
    founded = await vera.post("/v1/organizations", name="Vera's own")
    assert founded.status_code == 201, founded.text
    [mine] = (await vera.get("/v1/organizations")).json()["items"]
    assert (mine["id"], mine["role"]) == (founded.json()["id"], "owner")
    login = await vera.log_in(EMAIL)
    assert login.json()["organization"] == mine["id"], "the next login is there"
    assert (await vera.get("/v1/organization")).json()["name"] == "Vera's own"
    assert "organization.created" in await audited(place.app, sidecar, mine["id"])


async def test_what_is_their_own_they_may_do(place: Place) -> None:
    vera = await place.removed()
    renamed = await vera.send("PATCH", "/v1/me", {"name": "Vera V."})
    assert (renamed.status_code, renamed.json()["user"]["name"]) == (200, "Vera V.")
    [session, *_] = (await vera.get("/v1/me/sessions")).json()["items"]
    assert (session["current"], session["organization"]) == (True, None)
    begun = await vera.post("/v1/me/second-factor", password=PASSWORD)
    assert begun.status_code == 200, begun.text
    other = guest(place.client)
    await other.log_in(EMAIL)
    changed = await vera.send("PUT", "/v1/me/password", {"current": PASSWORD, "new": "entirely other random words"})
    assert changed.status_code == 204
    assert (await other.get("/v1/me")).status_code == 401
    assert (await vera.get("/v1/me")).status_code == 200
    assert (await vera.post("/v1/organization/leave")).json()["type"].endswith("/no-organization")
    assert problem_of(await vera.post("/v1/auth/organization", organization=place.organization)) == (404, "not-found")
    assert (await vera.send("DELETE", f"/v1/me/sessions/{session['id']}")).status_code == 204
    assert (await vera.get("/v1/me")).status_code == 401
    written = await rows(place.app, "SELECT org_id FROM outbox WHERE org_id !~ '^org_[0-9a-f]{32}$'")
    assert written == [], "no log is theirs"


def operations(description: JsonObject) -> Iterator[tuple[str, str]]:
    paths = cast("dict[str, JsonObject]", description["paths"])
    for path, methods in paths.items():
        for method in methods:
            if method in ("get", "post", "put", "patch", "delete"):
                yield method.upper(), path


async def test_every_other_route_says_how_to_go_on(place: Place, upstream: Upstream) -> None:
    vera = await place.removed()
    own = list(operations(public_openapi(place.app)))
    assert {f"{method} {path}" for method, path in own} > THEIR_OWN
    others = [("GET", "/v1/runs"), ("POST", "/v1/workflows"), ("GET", "/v1/crews/x"), ("GET", "/v1/dead-letters")]
    asked = 0
    for method, path in [*own, *others]:
        if f"{method} {path}" in THEIR_OWN or path.startswith("/v1/auth/") or not path.startswith("/v1/"):
            continue
        answer = await vera.send(method, path.replace("{", "").replace("}", ""), {})
        assert problem_of(answer) == (403, "no-organization"), (method, path, answer.text)
        asked += 1
    assert asked > 50
    assert upstream.seen == [], "no service hears of them"


async def test_what_was_refused_and_a_logout_are_in_nobodys_log(place: Place, sidecar: FakeSidecar) -> None:
    vera = await place.newcomer()
    login = await vera.log_in(EMAIL)
    await place.remove(vera)
    out = await place.client.post(
        "/v1/auth/logout",
        headers={
            "cookie": f"crewmesh_refresh={cookies_of(login)['crewmesh_refresh'][0]}",
            "x-csrf-token": login.json()["csrf_token"],
        },
    )
    assert out.status_code == 204
    await vera.log_in(EMAIL)
    assert problem_of(await vera.get("/v1/teams")) == (403, "no-organization")
    told = await audited(place.app, sidecar, place.organization)
    assert told[-1] == "member.removed", "it ends there for those who are left"
    assert "session.ended" not in told


async def test_whose_last_organization_is_deleted_stays(place: Place, sidecar: FakeSidecar) -> None:
    olga = await member(place.client, place.office, "olga@example.org", organization="Short-lived")
    cookies = cookies_of(login := await olga.log_in("olga@example.org"))
    organization = (await olga.get("/v1/organization")).json()["id"]
    assert (await olga.send("DELETE", "/v1/organization", {"confirm": "Short-lived"})).status_code == 204
    await change(
        place.app, "UPDATE organizations SET delete_after = now() - interval '1 s' WHERE id = %s", organization
    )

    async def is_erased() -> bool:
        await held(place.app, Ending).erase_one()
        return not await rows(place.app, "SELECT id FROM organizations WHERE id = %s", organization)

    await until(is_erased)
    assert (await olga.get("/v1/me")).status_code == 401
    answer = await refreshed(place.client, cookies["crewmesh_refresh"][0], login.json()["csrf_token"])
    assert (answer.status_code, answer.json()["organization"]) == (200, None)
    olga.access_token = answer.json()["access_token"]
    assert (await olga.post("/v1/organizations", name="The next")).status_code == 201
    assert await rows(place.app, "SELECT id FROM audit_events WHERE org_id = %s", organization) == []
    assert "request.denied" not in await audited(place.app, sidecar, organization)


async def test_founding_repeated_from_the_new_organization_founds_no_second_one(place: Place) -> None:
    vera = await place.removed()
    before = vera.access_token

    async def found() -> httpx2.Response:
        headers = {**vera.headers, "idempotency-key": "once"}
        return await place.client.post("/v1/organizations", json={"name": "Vera's own"}, headers=headers)

    answers = await asyncio.gather(*(found() for _ in range(10)))
    [organization] = {answer.json()["id"] for answer in answers}
    await vera.log_in(EMAIL)
    assert vera.access_token != before
    assert (await vera.get("/v1/me")).json()["organization"]["id"] == organization
    assert (await found()).json()["id"] == organization


async def test_their_logins_count_together(place: Place) -> None:
    vera = await place.removed()
    first = await vera.get("/v1/me")
    assert first.headers["ratelimit-policy"].startswith('"person";q=')
    await vera.log_in(EMAIL)
    second = await vera.get("/v1/me")
    left = [int(answer.headers["ratelimit"].split(";")[1].removeprefix("r=")) for answer in (first, second)]
    assert left[1] == left[0] - 1, "another login, the same person"


async def test_two_replicas_agree(settings: Settings, sidecar: FakeSidecar, office: PostOffice) -> None:
    async with AsyncExitStack() as stack:
        apps = [create_app(settings, sidecar) for _ in range(2)]
        clients = [await stack.enter_async_context(running(app)) for app in apps]
        here = await opened(apps[0], clients[0], office)
        vera = await here.newcomer()
        there = Guest(clients[1], vera.address, vera.access_token)
        assert (await there.get("/v1/me")).json()["role"] == "editor"
        await here.remove(vera)

        async def is_out() -> bool:
            return (await there.get("/v1/me")).status_code == 401

        await until(is_out)
        assert (await there.log_in(EMAIL)).json()["organization"] is None
        vera.access_token = there.access_token
        assert (await vera.get("/v1/me")).json()["organization"] is None
        founded = (await vera.post("/v1/organizations", name="Vera's own")).json()["id"]
        switched = await there.post("/v1/auth/organization", organization=founded)
        assert switched.status_code == 200
        in_it = Guest(clients[0], vera.address, switched.json()["access_token"])
        assert (await in_it.get("/v1/me")).json()["role"] == "owner"
        assert (await vera.post("/v1/auth/logout-all")).status_code == 200
        await until(is_out)
        assert (await vera.get("/v1/me")).status_code == 401
