"""Deleting an organization: it stands still, can be brought back, and is forgotten when its time is over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
from crewmesh_gateway.audit.service import AuditLog
from crewmesh_gateway.main import create_app
from crewmesh_gateway.organizations.ending import Ending
from crewmesh_gateway.settings import KeySettings, Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .audit_log import event
from .gateway import Upstream, until
from .inside import change, held, rows
from .logins import refused
from .people import Somebody, audited, founder, logged_in, member, newcomer

NAME = "Hill and Daughters"


async def deleted(client: httpx2.AsyncClient, by: Somebody, confirm: str = NAME) -> httpx2.Response:
    return await client.request("DELETE", "/v1/organization", json={"confirm": confirm}, headers=by.headers)


async def make_due(app: FastAPI, organization: str) -> None:
    await change(app, "UPDATE organizations SET delete_after = now() - interval '1 s' WHERE id = %s", organization)


def told_status(sidecar: FakeSidecar, organization: str) -> list[object]:
    """What other services were told of its status."""
    told = [each for each in sidecar.published_on("organizations") if each.crewmeshorg == organization]
    return [each.data["status"] for each in told if isinstance(each.data, dict) and "status" in each.data]


async def test_deleting_takes_the_name_and_leaves_time(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        for wrong in ("", "hill and daughters", f"{NAME} "):
            refused = await deleted(client, olga, wrong)
            assert refused.status_code == 409
            assert refused.json()["type"].endswith("/confirmation-wrong")
        assert (await deleted(client, olga)).status_code == 204
        shown = (await client.get("/v1/organization", headers=olga.headers)).json()
        assert shown["status"] == "deleting"
        left = datetime.fromisoformat(shown["delete_after"]) - datetime.now(UTC)
        assert timedelta(days=13, hours=23) < left <= timedelta(days=14)
        [mine] = (await client.get("/v1/organizations", headers=olga.headers)).json()["items"]
        assert (mine["status"], mine["delete_after"]) == ("deleting", shown["delete_after"])
        assert "organization.deleted" in await audited(app, sidecar, olga.organization)


async def test_what_is_deleted_is_read_and_restored_and_nothing_else(
    app: FastAPI, upstream: Upstream, sidecar: FakeSidecar
) -> None:
    async with running(app) as client:
        olga = await founder(app)
        mia = await member(app, olga.organization, "admin")
        assert (await client.post("/v1/runs", json={}, headers=mia.headers)).status_code == 200
        await deleted(client, olga)
        await until(lambda: told_status(sidecar, olga.organization) == ["deleting"])
        taken_along = await client.post("/v1/exports", headers=olga.headers)
        assert taken_along.status_code == 201, taken_along.text
        upstream.seen.clear()
        shown = (await client.get("/v1/organization", headers=olga.headers)).json()
        for path in ("/v1/runs", "/v1/members", "/v1/teams", "/v1/roles", "/v1/me", "/v1/invitations"):
            assert (await client.get(path, headers=mia.headers)).status_code == 200, path
        changes: list[tuple[str, str, object]] = [
            ("POST", "/v1/runs", {}),
            ("PUT", "/v1/workflows/x/draft", {}),
            ("DELETE", "/v1/knowledge-bases/x", None),
            ("POST", "/v1/teams", {"name": "x"}),
            ("POST", "/v1/roles", {"name": "x", "permissions": ["runs:read"]}),
            ("POST", "/v1/invitations", {"email": "a@example.org"}),
            ("PATCH", f"/v1/members/{mia.id}", {"role": "viewer"}),
            ("DELETE", f"/v1/members/{mia.id}", None),
            ("PATCH", "/v1/organization", {"name": "x"}),
            ("DELETE", "/v1/organization", {"confirm": NAME}),
        ]
        for method, path, body in changes:
            refused = await client.request(method, path, json=body, headers={**olga.headers, "if-match": "*"})
            assert refused.status_code == 409, path
            assert refused.json()["type"].endswith("/organization-deleting")
            assert datetime.fromisoformat(refused.json()["delete_after"]) == datetime.fromisoformat(
                shown["delete_after"]
            )
            assert "/v1/organization/restore" in refused.json()["detail"]
        assert [seen.method for seen in upstream.seen] == ["GET"], "services are read and not changed"
        assert (await client.post("/v1/organization/restore", headers=mia.headers)).status_code == 403
        restored = await client.post("/v1/organization/restore", headers=olga.headers)
        assert (restored.json()["status"], restored.json()["delete_after"]) == ("active", None)
        await until(lambda: told_status(sidecar, olga.organization) == ["deleting", "active"])
        assert (await client.post("/v1/runs", json={}, headers=mia.headers)).status_code == 200
        assert (await client.post("/v1/organization/restore", headers=olga.headers)).status_code == 200
        assert (await audited(app, sidecar, olga.organization)).count("organization.restored") == 1


async def test_what_is_a_persons_own_goes_on_in_a_deleted_organization(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        mia = await member(app, olga.organization, "viewer")
        await deleted(client, olga)
        made = await client.post("/v1/organizations", json={"name": "Next"}, headers=mia.headers)
        assert made.status_code == 201
        switched = await client.post(
            "/v1/auth/organization", json={"organization": made.json()["id"]}, headers=mia.headers
        )
        assert switched.status_code == 200
        assert (await client.post("/v1/organization/leave", headers=mia.headers)).status_code == 204


async def test_what_is_due_is_forgotten_and_the_services_hear_of_it(settings: Settings, sidecar: FakeSidecar) -> None:
    often = settings.organizations.model_copy(update={"erase_every_seconds": 0.1})
    remembering = KeySettings(cache_seconds=300)
    app = create_app(settings.model_copy(update={"organizations": often, "keys": remembering}), sidecar)
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        mia = await member(app, olga.organization, "editor")
        team = (await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)).json()["id"]
        await client.put(f"/v1/teams/{team}/members/{mia.id}", headers=olga.headers)
        await client.post("/v1/roles", json={"name": "R", "permissions": ["runs:read"]}, headers=olga.headers)
        await client.post("/v1/invitations", json={"email": "a@example.org"}, headers=olga.headers)
        await client.post("/v1/teams", json={"name": "Kept"}, headers=other.headers)
        await client.post(
            "/v1/teams", json={"name": "Once"}, headers={**olga.headers, "idempotency-key": "a key of theirs"}
        )
        lines = [event(organization=olga.organization) for _ in range(3)]
        assert await held(app, AuditLog).append(olga.organization, lines) == 3
        await deleted(client, olga)
        await make_due(app, olga.organization)

        async def is_gone() -> bool:
            return not await rows(app, "SELECT id FROM organizations WHERE id = %s", olga.organization)

        await until(is_gone)

        def is_told() -> bool:
            told = [each for each in sidecar.published_on("organizations") if each.crewmeshorg == olga.organization]
            # That it was to be deleted may have gone with its rows before it was told.
            return [each.type.split(".")[2] for each in told if "status" not in each.type] == ["created", "deleted"]

        await until(is_told)
        await _no_row_names(app, olga.organization)
        for who in (olga, mia):
            await refused(client, who.headers["authorization"].removeprefix("Bearer "))
        people = await rows(app, "SELECT last_org_id FROM users WHERE id = ANY(%s)", [olga.id, mia.id])
        assert people == [{"last_org_id": None}] * 2, "people stay"
        assert len((await client.get("/v1/teams", headers=other.headers)).json()["items"]) == 1
        again = await logged_in(app, olga.id, other.organization)
        assert (await client.get("/v1/me", headers=again.headers)).status_code == 401, "still not a member there"


async def _no_row_names(app: FastAPI, organization: str) -> None:
    tables = await rows(
        app,
        "SELECT table_name AS name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND column_name = 'org_id'",
    )
    names = {each["name"] for each in tables} - {"sessions", "outbox"}
    assert {
        "memberships",
        "teams",
        "team_members",
        "roles",
        "invitations",
        "api_keys",
        "idempotency",
        "audit_events",
    } <= names
    for name in names:
        [counted] = await rows(app, f"SELECT count(*) AS number FROM {name} WHERE org_id = %s", organization)
        assert counted["number"] == 0, name


async def test_what_is_not_due_or_was_restored_stays(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        await deleted(client, olga)
        assert await held(app, Ending).erase_one() is None
        await client.post("/v1/organization/restore", headers=olga.headers)
        await change(app, "UPDATE organizations SET delete_after = now() - interval '1 day'")
        assert await held(app, Ending).erase_one() is None
        for who in (olga, other):
            assert (await client.get("/v1/organization", headers=who.headers)).status_code == 200


async def test_of_restoring_and_forgetting_at_once_one_wins(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        await newcomer(app)
        for _ in range(10):
            olga = await founder(app)
            await deleted(client, olga)
            await make_due(app, olga.organization)
            erased, restored, *_ = await asyncio.gather(
                held(app, Ending).erase_one(),
                client.post("/v1/organization/restore", headers=olga.headers),
                held(app, Ending).erase_one(),
            )
            found = await rows(app, "SELECT status FROM organizations WHERE id = %s", olga.organization)
            if restored.status_code == 200:
                assert found == [{"status": "active"}]
            else:
                assert found == []
                assert restored.status_code in (401, 404)
            assert erased in (None, olga.organization)
