"""Organizations: founding, reading, changing; what is one person's and what is another's."""

from __future__ import annotations

from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, until
from .inside import rows
from .people import audited, founder, logged_in, member, newcomer


async def test_whoever_founds_an_organization_owns_it_and_the_services_hear_of_it(
    app: FastAPI, sidecar: FakeSidecar
) -> None:
    async with running(app) as client:
        olga = await founder(app)
        answer = await client.post("/v1/organizations", json={"name": "  Second  "}, headers=olga.headers)
        assert answer.status_code == 201
        created = answer.json()
        assert created["name"] == "Second"
        assert answer.headers["location"] == "/v1/organization"
        there = await logged_in(app, olga.id, created["id"])
        assert (await client.get("/v1/me", headers=there.headers)).json()["role"] == "owner"
        await until(lambda: any(event.crewmeshorg == created["id"] for event in sidecar.published_on("organizations")))
        assert await audited(app, sidecar, created["id"]) == ["organization.created", "session.begun"]


async def test_an_idempotency_key_founds_once(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        headers = {**olga.headers, "idempotency-key": "once"}
        first = await client.post("/v1/organizations", json={"name": "Second"}, headers=headers)
        again = await client.post("/v1/organizations", json={"name": "Second"}, headers=headers)
        assert first.json() == again.json()
        other = await founder(app, "Elsewhere")
        theirs = await client.post(
            "/v1/organizations", json={"name": "Second"}, headers={**other.headers, "idempotency-key": "once"}
        )
        assert theirs.json()["id"] != first.json()["id"]


async def test_nobody_owns_more_than_the_operator_lets_them(settings: Settings, sidecar: FakeSidecar) -> None:
    bounded = settings.organizations.model_copy(update={"most_owned": 2})
    app = create_app(settings.model_copy(update={"organizations": bounded}), sidecar)
    async with running(app) as client:
        olga = await founder(app)
        assert (await client.post("/v1/organizations", json={"name": "b"}, headers=olga.headers)).status_code == 201
        refused = await client.post("/v1/organizations", json={"name": "c"}, headers=olga.headers)
        assert refused.status_code == 403
        assert refused.json()["type"].endswith("/too-many-organizations")


async def test_where_nobody_founds_organizations(settings: Settings, sidecar: FakeSidecar) -> None:
    closed = settings.organizations.model_copy(update={"most_owned": 0})
    app = create_app(settings.model_copy(update={"organizations": closed}), sidecar)
    async with running(app) as client:
        olga = await founder(app)
        refused = await client.post("/v1/organizations", json={"name": "Another"}, headers=olga.headers)
        assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (403, "too-many-organizations")
        assert "Nobody founds organizations here" in refused.json()["detail"]


async def test_a_person_sees_their_organizations_in_pages_and_nobody_elses(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app, "First")
        for name in ("Second", "Third"):
            await client.post("/v1/organizations", json={"name": name}, headers=olga.headers)
        await founder(app, "Not hers")
        first = (await client.get("/v1/organizations?limit=2", headers=olga.headers)).json()
        rest = (
            await client.get(f"/v1/organizations?limit=2&cursor={first['next_cursor']}", headers=olga.headers)
        ).json()
        shown = [*first["items"], *rest["items"]]
        assert [each["name"] for each in shown] == ["First", "Second", "Third"]
        assert {each["role"] for each in shown} == {"owner"}
        assert rest["next_cursor"] is None


A_PERSONS = [
    ("GET", "/v1/organizations", None),
    ("POST", "/v1/organizations", {"name": "x"}),
    ("POST", "/v1/organization/leave", None),
    ("POST", "/v1/organization/transfer", {"user": "usr_1", "password": "x"}),
    ("POST", "/v1/invitations/accept", {"token": "x"}),
]


async def test_what_is_a_persons_cannot_be_done_with_a_key(app: FastAPI) -> None:
    async with running(app) as client:
        for method, path, body in A_PERSONS:
            answer = await client.request(method, path, json=body, headers=BEARER)
            assert answer.status_code == 403, path
            assert answer.json()["type"].endswith("/not-a-person")


async def test_the_present_organization_is_changed_by_who_has_read_it(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        shown = await client.get("/v1/organization", headers=olga.headers)
        assert shown.json()["status"] == "active"
        tag = shown.headers["etag"]
        change = {"name": "Hill & Daughters", "residency": "eu-central"}
        unread = await client.patch("/v1/organization", json=change, headers=olga.headers)
        assert unread.status_code == 428
        changed = await client.patch("/v1/organization", json=change, headers={**olga.headers, "if-match": tag})
        assert changed.status_code == 200
        assert (changed.json()["name"], changed.json()["residency"]) == ("Hill & Daughters", "eu-central")
        late = await client.patch("/v1/organization", json={"name": "x"}, headers={**olga.headers, "if-match": tag})
        assert late.status_code == 412
        now = {**olga.headers, "if-match": changed.headers["etag"]}
        same = await client.patch("/v1/organization", json={}, headers=now)
        assert same.headers["etag"] == changed.headers["etag"]
        cleared = await client.patch("/v1/organization", json={"residency": None}, headers=now)
        assert cleared.json()["residency"] is None
        assert cleared.json()["name"] == "Hill & Daughters"
        assert (await audited(app, sidecar, olga.organization)).count("organization.updated") == 2


async def test_lesser_roles_read_and_do_not_change(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        for role in ("editor", "viewer"):
            lesser = await member(app, olga.organization, role)
            assert (await client.get("/v1/organization", headers=lesser.headers)).status_code == 200
            for method, path, body in (
                ("PATCH", "/v1/organization", {"name": "x"}),
                ("DELETE", "/v1/organization", {"confirm": "Hill and Daughters"}),
                ("POST", "/v1/organization/restore", None),
                ("POST", "/v1/organization/transfer", {"user": lesser.id, "password": "x"}),
            ):
                answer = await client.request(method, path, json=body, headers={**lesser.headers, "if-match": "*"})
                assert answer.status_code == 403, path
                assert answer.json()["type"].endswith("/permission-denied")


NAMES = [
    "__proto__",
    "constructor",
    "__class__",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "שלום\u200f עולם",
    "Crème brûlée 🍮",
    "' OR 1=1 --",
    "x" * 200,
]


NO_NAMES: list[object] = [
    *("", "   ", "x" * 201, "x" * 10_000, "a\nb", "a\x00b", "a\u202eb", "\u200b", "a\u2028b"),
    *(None, 7, {"a": 1}, ["a"]),
]


async def test_names_come_back_as_they_were_given(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        for name in NAMES:
            created = await client.post("/v1/organizations", json={"name": name}, headers=olga.headers)
            assert created.json()["name"] == name
        composed = await client.post("/v1/organizations", json={"name": "Cafe\u0301"}, headers=olga.headers)
        assert composed.json()["name"] == "Café"
        listed = (await client.get("/v1/organizations", headers=olga.headers)).json()["items"]
        assert [each["name"] for each in listed] == ["Hill and Daughters", *NAMES, "Café"]


async def test_what_is_no_name_is_refused_with_a_reason(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        headers = {**olga.headers, "if-match": "*"}
        for name in NO_NAMES:
            for method, path in (("POST", "/v1/organizations"), ("PATCH", "/v1/organization")):
                answer = await client.request(method, path, json={"name": name}, headers=headers)
                assert answer.status_code == 422, (name, answer.text)
        shapes: list[object] = [{"name": "x", "plan": "enterprise"}, {"name": "x", "id": "org_1"}, {}, [], "x", None]
        for body in shapes:
            assert (await client.post("/v1/organizations", json=body, headers=headers)).status_code == 422


async def test_a_residency_is_a_plain_word(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        wrong: list[object] = ["", "E", "EU WEST", "a" * 41, "-eu", "eu\n", {"a": 1}]
        for residency in wrong:
            answer = await client.patch(
                "/v1/organization", json={"residency": residency}, headers={**olga.headers, "if-match": "*"}
            )
            assert answer.status_code == 422, residency


async def test_somebody_without_any_organization_is_not_in_one(app: FastAPI) -> None:
    """A login in an organization that one does not belong to opens nothing."""
    async with running(app) as client:
        olga = await founder(app)
        stranger = await logged_in(app, await newcomer(app), olga.organization)
        assert (await client.get("/v1/organization", headers=stranger.headers)).status_code == 401
        assert (await client.get("/v1/organizations", headers=stranger.headers)).status_code == 401
        assert await rows(app, "SELECT 1 AS one FROM memberships WHERE user_id = %s", stranger.id) == []
