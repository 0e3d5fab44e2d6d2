"""How many of each thing an organization may have: as the plan says, however many ask at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from crewmesh_gateway.limits.plans import PLANS, QUOTAS, QuotaName
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import LimitSettings, Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from httpx2 import AsyncClient

from .gateway import BEARER
from .inside import change
from .people import founder, logged_in, member

FREE = PLANS["free"]
# Creating one of each, and the path where that is done.
_CREATE: Mapping[str, tuple[str, Callable[[int], dict[str, object]]]] = {
    "members": ("/v1/invitations", lambda n: {"email": f"guest{n}@example.org", "role": "viewer"}),
    "teams": ("/v1/teams", lambda n: {"name": f"Team {n}"}),
    "api_keys": ("/v1/api-keys", lambda n: {"name": f"Key {n}", "scopes": ["runs:read"]}),
    "service_accounts": ("/v1/service-accounts", lambda n: {"name": f"Robot {n}", "role": "viewer"}),
    "custom_roles": ("/v1/roles", lambda n: {"name": f"Role {n}", "permissions": ["runs:read"]}),
}


@pytest.fixture
def app(settings: Settings, sidecar: FakeSidecar) -> FastAPI:
    return create_app(settings.model_copy(update={"limits": LimitSettings(default_plan="enterprise")}), sidecar)


async def shown(client: AsyncClient, headers: dict[str, str]) -> dict[str, tuple[int, int | None]]:
    body = (await client.get("/v1/limits", headers=headers)).json()
    return {each["quota"]: (each["used"], each["limit"]) for each in body["quotas"]}


async def on_plan(app: FastAPI, organization: str, plan: str) -> None:
    await change(app, "UPDATE organizations SET plan = %s WHERE id = %s", plan, organization)


@pytest.mark.parametrize("quota", QUOTAS)
async def test_of_many_who_create_at_once_as_many_succeed_as_the_plan_has_room_for(
    app: FastAPI, quota: QuotaName
) -> None:
    path, body = _CREATE[quota]
    async with running(app) as client:
        owner = await founder(app)
        await on_plan(app, owner.organization, "free")
        # Several logins, for a single one may not ask that often.
        logins = [await logged_in(app, owner.id, owner.organization) for _ in range(5)]
        before, limit = (await shown(client, owner.headers))[quota]
        assert limit is not None
        assert limit == FREE.quota(quota)
        answers = await asyncio.gather(
            *(client.post(path, json=body(n), headers=logins[n % 5].headers) for n in range(50))
        )
        created = Counter(answer.status_code for answer in answers)
        assert (created[201], created[403]) == (limit - before, 50 - (limit - before))
        refused = next(answer.json() for answer in answers if answer.status_code == 403)
        assert refused["type"].endswith("/quota-exceeded")
        assert {name: refused[name] for name in ("quota", "plan", "used", "allowed")} == {
            "quota": quota,
            "plan": "free",
            "used": limit,
            "allowed": limit,
        }
        assert (await shown(client, owner.headers))[quota] == (limit, limit)


async def test_room_that_is_made_is_there(app: FastAPI) -> None:
    async with running(app) as client:
        owner = await founder(app)
        await on_plan(app, owner.organization, "free")
        team = await client.post("/v1/teams", json={"name": "One"}, headers=owner.headers)
        assert (await client.post("/v1/teams", json={"name": "Two"}, headers=owner.headers)).status_code == 403
        await client.delete(f"/v1/teams/{team.json()['id']}", headers=owner.headers)
        assert (await client.post("/v1/teams", json={"name": "Two"}, headers=owner.headers)).status_code == 201


async def test_a_repeated_request_is_answered_though_the_quota_is_full_by_now(app: FastAPI) -> None:
    async with running(app) as client:
        owner = await founder(app)
        await on_plan(app, owner.organization, "free")
        headers = {**owner.headers, "idempotency-key": "one"}
        first = await client.post("/v1/teams", json={"name": "One"}, headers=headers)
        again = await client.post("/v1/teams", json={"name": "One"}, headers=headers)
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()


async def test_open_invitations_take_a_members_place_until_they_are_revoked(app: FastAPI) -> None:
    async with running(app) as client:
        owner = await founder(app)
        await member(app, owner.organization, "viewer")
        await on_plan(app, owner.organization, "free")
        path, body = _CREATE["members"]
        last = await client.post(path, json=body(1), headers=owner.headers)
        assert last.status_code == 201
        assert (await client.post(path, json=body(2), headers=owner.headers)).status_code == 403
        await client.delete(f"/v1/invitations/{last.json()['id']}", headers=owner.headers)
        assert (await client.post(path, json=body(2), headers=owner.headers)).status_code == 201


async def test_the_page_of_limits(app: FastAPI) -> None:
    async with running(app) as client:
        own = await client.get("/v1/limits", headers=BEARER)
        assert own.status_code == 200
        body = own.json()
        assert body["plan"] == "enterprise", "whoever runs it themselves has no quota"
        assert {each["quota"]: each["limit"] for each in body["quotas"]} == dict.fromkeys(QUOTAS)
        rates = {each["limit"]: each for each in body["rates"]}
        assert set(rates) == {"organization", "key"}
        assert rates["key"]["per_minute"] == 300_000
        assert rates["organization"]["used_in_the_last_minute"] == 1

        owner = await founder(app)
        viewer = await member(app, owner.organization, "viewer")
        assert (await client.get("/v1/limits", headers=viewer.headers)).status_code == 403
        session = (await client.get("/v1/limits", headers=owner.headers)).json()
        assert {each["limit"] for each in session["rates"]} == {"organization", "session"}
        assert {each["quota"]: each["used"] for each in session["quotas"]}["members"] == 2


async def test_a_plan_that_nobody_knows_is_refused_by_the_database(app: FastAPI) -> None:
    async with running(app):
        owner = await founder(app)
        with pytest.raises(Exception, match="organizations_plan_is_known"):
            await on_plan(app, owner.organization, "platinum")
