"""API keys over HTTP: made, shown once, listed, renamed, rotated, revoked, and never more than who makes them."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from crewmesh_testkit import running
from fastapi import FastAPI
from httpx2 import AsyncClient

from .credentials import Json, another_organization, member
from .gateway import BEARER, KEY, bearer, until
from .inside import change, rows

NEW: Json = {"name": "Nightly import", "scopes": ["knowledge:write", "knowledge:read"]}


async def created(client: AsyncClient, headers: dict[str, str] = BEARER, **changes: object) -> Json:
    answer = await client.post("/v1/api-keys", headers=headers, json={**NEW, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def status(client: AsyncClient, key: object) -> int:
    return (await client.get("/v1/me", headers=bearer(key))).status_code


async def ends(client: AsyncClient, key: object, moment: datetime) -> None:
    """The key is good until then, however soon that is, and not any longer."""
    asked = await status(client, key)
    assert asked == 200 or datetime.now(UTC) >= moment

    async def ended() -> bool:
        return await status(client, key) == 401

    await until(ended)
    assert datetime.now(UTC) >= moment


async def test_a_new_key_works_and_is_shown_once(app: FastAPI) -> None:
    async with running(app) as client:
        answer = await client.post("/v1/api-keys", headers=BEARER, json=NEW)
        made = answer.json()
        assert answer.headers["location"] == f"/v1/api-keys/{made['id']}"
        assert answer.headers["cache-control"] == "no-store"
        assert re.fullmatch(rf"cm_live_{made['prefix']}_[0-9A-Za-z]{{49}}", made["key"])
        me = (await client.get("/v1/me", headers=bearer(made["key"]))).json()
        assert (me["key"]["id"], me["permissions"]) == (made["id"], ["knowledge:read", "knowledge:write"])
        shown = await client.get(f"/v1/api-keys/{made['id']}", headers=BEARER)
        assert "key" not in shown.json()
        assert shown.json() == {name: value for name, value in made.items() if name != "key"}
        assert shown.headers["etag"] == '"1"'
        assert (shown.json()["created_by"], shown.json()["status"]) == ((await first_key(client))["id"], "active")


async def first_key(client: AsyncClient) -> Json:
    return (await client.get("/v1/me", headers=BEARER)).json()["key"]


async def test_no_secret_is_kept_or_listed(app: FastAPI) -> None:
    async with running(app) as client:
        made = await created(client)
        secret = str(made["key"]).rsplit("_", 1)[1]
        listed = await client.get("/v1/api-keys", headers=BEARER)
        assert secret not in listed.text
        assert [each["prefix"] for each in listed.json()["items"]] == [KEY.prefix, made["prefix"]]
        for table in ("api_keys", "idempotency", "outbox", "organizations"):
            kept = str(await rows(app, f"SELECT * FROM {table}"))
            assert secret not in kept
            assert secret.encode().hex() not in kept


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"scopes": ["knowledge:burn"]}, "scopes"),
        ({"scopes": ["*"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"name": " \n"}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"service_account": "a\u0000b"}, "service_account"),
        ({"permissions": ["runs:read"]}, "permissions"),
        ({"user": "usr_1"}, "user"),
    ],
)
async def test_what_cannot_be_a_key_is_refused_by_its_shape(app: FastAPI, changes: Json, place: str) -> None:
    async with running(app) as client:
        answer = await client.post("/v1/api-keys", headers=BEARER, json={**NEW, **changes})
    assert answer.status_code == 422
    assert any(place in error["path"] for error in answer.json()["errors"])


async def test_nobody_makes_a_key_for_more_than_they_hold(app: FastAPI) -> None:
    async with running(app) as client:
        admin = await member(app, "admin")
        answer = await client.post(
            "/v1/api-keys", headers=admin.headers, json={**NEW, "scopes": ["runs:read", "organization:delete"]}
        )
        assert (answer.status_code, answer.json()["permissions"]) == (403, ["organization:delete"])
        narrow = await created(client, admin.headers, scopes=["api-keys:write", "runs:read"])
        answer = await client.post("/v1/api-keys", headers=bearer(narrow["key"]), json=NEW)
        assert (answer.status_code, answer.json()["permissions"]) == (403, ["knowledge:read", "knowledge:write"])
        narrower = await created(client, bearer(narrow["key"]), scopes=["runs:read"])
        assert (narrower["user"], narrower["created_by"]) == (admin.user, narrow["id"])


@pytest.mark.parametrize(("role", "may_read", "may_write"), [("viewer", 0, 0), ("editor", 0, 0), ("admin", 1, 1)])
async def test_keys_are_for_those_who_may(app: FastAPI, role: str, may_read: int, may_write: int) -> None:
    async with running(app) as client:
        who = await member(app, role)
        read = await client.get("/v1/api-keys", headers=who.headers)
        write = await client.post("/v1/api-keys", headers=who.headers, json=NEW)
        reader = await member(app, "admin", scopes=["api-keys:read"])
        refused = await client.post("/v1/api-keys", headers=reader.headers, json=NEW)
    assert (read.status_code == 200, write.status_code == 201) == (bool(may_read), bool(may_write))
    assert (refused.status_code, refused.json()["permission"]) == (403, "api-keys:write")


async def test_a_key_does_what_its_owner_may_at_the_time(app: FastAPI) -> None:
    async with running(app) as client:
        admin = await member(app, "admin")
        made = await created(client, admin.headers, scopes=["knowledge:write", "runs:read"])
        await change(app, "UPDATE memberships SET role = 'viewer' WHERE user_id = %s", admin.user)
        me = (await client.get("/v1/me", headers=bearer(made["key"]))).json()
        assert (me["role"], me["permissions"]) == ("viewer", ["runs:read"])


async def test_an_expiring_key_ends_by_itself(app: FastAPI) -> None:
    async with running(app) as client:
        made = await created(client, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
        soon = datetime.now(UTC) + timedelta(seconds=1.5)
        await change(app, "UPDATE api_keys SET expires_at = %s WHERE id = %s", soon, made["id"])
        await ends(client, made["key"], soon)
        shown = (await client.get(f"/v1/api-keys/{made['id']}", headers=BEARER)).json()
        assert shown["status"] == "expired"
        refused = await client.post(f"/v1/api-keys/{made['id']}/rotate", headers=BEARER, json={})
        assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[-1]) == (409, "api-key-ended")


async def test_a_revoked_key_ends_at_once_and_may_be_revoked_again(app: FastAPI) -> None:
    async with running(app) as client:
        made = await created(client)
        assert await status(client, made["key"]) == 200
        for _ in range(2):
            assert (await client.delete(f"/v1/api-keys/{made['id']}", headers=BEARER)).status_code == 204
            assert await status(client, made["key"]) == 401
        shown = (await client.get(f"/v1/api-keys/{made['id']}", headers=BEARER)).json()
        assert (shown["status"], shown["version"]) == ("revoked", 2)


async def test_renaming_needs_the_version_that_was_read(app: FastAPI) -> None:
    async with running(app) as client:
        path = f"/v1/api-keys/{(await created(client))['id']}"
        without = await client.patch(path, headers=BEARER, json={"name": "Other"})
        renamed = await client.patch(path, headers={**BEARER, "if-match": '"1"'}, json={"name": "Other"})
        stale = await client.patch(path, headers={**BEARER, "if-match": '"1"'}, json={"name": "Third"})
        more = await client.patch(path, headers={**BEARER, "if-match": '"2"'}, json={"name": "x", "scopes": ["*"]})
    assert [each.status_code for each in (without, renamed, stale, more)] == [428, 200, 412, 422]
    assert (renamed.json()["name"], renamed.headers["etag"]) == ("Other", '"2"')


async def test_a_page_goes_on_where_the_last_one_ended(app: FastAPI) -> None:
    async with running(app) as client:
        made = [(await created(client, name=f"k{number}"))["id"] for number in range(4)]
        seen: list[object] = []
        asked: dict[str, str] = {"limit": "2"}
        while "cursor" not in asked or asked["cursor"]:
            page = (await client.get("/v1/api-keys", headers=BEARER, params=asked)).json()
            seen += [each["id"] for each in page["items"]]
            asked["cursor"] = page["next_cursor"] or ""
        wrong = await client.get("/v1/api-keys", headers=BEARER, params={"cursor": "nonsense"})
    assert seen[1:] == made
    assert wrong.status_code == 400


async def test_another_organizations_key_is_one_that_is_not_there(app: FastAPI) -> None:
    async with running(app) as client:
        stranger = await member(app, "owner", organization=await another_organization(app))
        theirs, none = (await created(client))["id"], "key_" + "0" * 32
        for method, tail, body in (
            ("GET", "", None),
            ("PATCH", "", {"name": "Mine"}),
            ("DELETE", "", None),
            ("POST", "/rotate", {}),
        ):
            told = [
                await client.request(method, f"/v1/api-keys/{id_}{tail}", headers=stranger.headers, json=body)
                for id_ in (theirs, none)
            ]
            assert [each.status_code for each in told] == [404, 404]
            assert told[0].json()["detail"].replace(str(theirs), none) == told[1].json()["detail"]
        listed = (await client.get("/v1/api-keys", headers=stranger.headers)).json()["items"]
        assert [each["id"] for each in listed] == [stranger.key_id]


async def test_an_id_that_cannot_be_one_reaches_no_statement(app: FastAPI) -> None:
    async with running(app) as client:
        for odd in ("%00", "a%0ab", "x" * 101, "%F0%9F%94%91"):
            assert (await client.get(f"/v1/api-keys/{odd}", headers=BEARER)).status_code in (400, 422), odd
        for odd in ("a\0b", "key 1", "x" * 101):
            listed = await client.get("/v1/api-keys", headers=BEARER, params={"service_account": odd})
            assert listed.status_code in (400, 422), odd


class TestRotating:
    async def test_the_old_key_stays_good_for_the_overlap(self, app: FastAPI) -> None:
        async with running(app) as client:
            old = await created(client)
            answer = await client.post(f"/v1/api-keys/{old['id']}/rotate", headers=BEARER, json={})
            new = answer.json()
            assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
            assert (new["rotated_from"], new["scopes"], new["name"]) == (old["id"], old["scopes"], old["name"])
            shown = (await client.get(f"/v1/api-keys/{old['id']}", headers=BEARER)).json()
            assert shown["status"] == "ending"
            soon = datetime.now(UTC) + timedelta(seconds=1.5)
            await change(app, "UPDATE api_keys SET revoked_at = %s WHERE id = %s", soon, old["id"])
            await ends(client, old["key"], soon)
            assert await status(client, new["key"]) == 200

    async def test_without_an_overlap_the_old_key_ends_at_once(self, app: FastAPI) -> None:
        async with running(app) as client:
            old = await created(client)
            assert await status(client, old["key"]) == 200
            await client.post(f"/v1/api-keys/{old['id']}/rotate", headers=BEARER, json={"overlap_seconds": 0})
            assert await status(client, old["key"]) == 401

    async def test_an_hour_is_usual_and_a_week_the_most(self, app: FastAPI) -> None:
        async with running(app) as client:
            path = f"/v1/api-keys/{(await created(client))['id']}"
            for wrong in (-1, 7 * 24 * 3600 + 1, "soon"):
                answer = await client.post(f"{path}/rotate", headers=BEARER, json={"overlap_seconds": wrong})
                assert answer.status_code == 422
            await client.post(f"{path}/rotate", headers=BEARER, json={})
            ends = datetime.fromisoformat((await client.get(path, headers=BEARER)).json()["revoked_at"])
        assert abs(ends - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)

    async def test_a_key_with_a_term_is_followed_by_one_with_the_same_term(self, app: FastAPI) -> None:
        async with running(app) as client:
            old = await created(client, expires_at=(datetime.now(UTC) + timedelta(days=30)).isoformat())
            new = (await client.post(f"/v1/api-keys/{old['id']}/rotate", headers=BEARER, json={})).json()
        assert timedelta(days=29.9) < datetime.fromisoformat(new["expires_at"]) - datetime.now(UTC)

    async def test_twenty_rotations_at_once_leave_one_successor(self, app: FastAPI) -> None:
        async with running(app) as client:
            old = await created(client)
            answers = await asyncio.gather(
                *(client.post(f"/v1/api-keys/{old['id']}/rotate", headers=BEARER, json={}) for _ in range(20))
            )
            listed = (await client.get("/v1/api-keys", headers=BEARER)).json()["items"]
        assert sorted(each.status_code for each in answers) == [201] + 19 * [409]
        assert len([each for each in listed if each["rotated_from"] == old["id"]]) == 1

    async def test_nobody_is_shown_a_key_that_acts_for_somebody_else(self, app: FastAPI) -> None:
        async with running(app) as client:
            admin = await member(app, "admin")
            owners = (await first_key(client))["id"]
            answer = await client.post(f"/v1/api-keys/{owners}/rotate", headers=admin.headers, json={})
            assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (403, "somebody-elses-key")
            # What may be done by whoever looks after keys is to end it.
            assert (await client.delete(f"/v1/api-keys/{owners}", headers=admin.headers)).status_code == 204

    async def test_a_narrow_key_is_not_shown_a_wider_one(self, app: FastAPI) -> None:
        async with running(app) as client:
            wide = await created(client)
            narrow = await created(client, scopes=["api-keys:write"])
            answer = await client.post(f"/v1/api-keys/{wide['id']}/rotate", headers=bearer(narrow["key"]), json={})
        assert (answer.status_code, answer.json()["permissions"]) == (403, ["knowledge:read", "knowledge:write"])

    async def test_the_first_key_is_rotated_like_any_other(self, app: FastAPI) -> None:
        async with running(app) as client:
            first = (await first_key(client))["id"]
            new = (
                await client.post(f"/v1/api-keys/{first}/rotate", headers=BEARER, json={"overlap_seconds": 0})
            ).json()
            me = (await client.get("/v1/me", headers=bearer(new["key"]))).json()
            assert await status(client, KEY.text) == 401
        assert (me["role"], me["permissions"]) == ("owner", ["*"])


class TestRepeating:
    async def test_fifty_equal_requests_make_one_key_and_show_it_once(self, app: FastAPI) -> None:
        async with running(app) as client:
            headers = {**BEARER, "idempotency-key": "once"}
            answers = await asyncio.gather(*(client.post("/v1/api-keys", headers=headers, json=NEW) for _ in range(50)))
            (shown,) = [each for each in answers if each.status_code == 201]
            others = [each for each in answers if each is not shown]
            listed = (await client.get("/v1/api-keys", headers=BEARER)).json()["items"]
        assert {each.status_code for each in others} == {409}
        assert {each.json()["key_id"] for each in others} == {shown.json()["id"]}
        assert {each.json()["retryable"] for each in others} == {False}
        assert len(listed) == 2

    async def test_another_request_with_the_same_idempotency_key_is_refused(self, app: FastAPI) -> None:
        async with running(app) as client:
            headers = {**BEARER, "idempotency-key": "once"}
            await client.post("/v1/api-keys", headers=headers, json=NEW)
            answer = await client.post("/v1/api-keys", headers=headers, json={**NEW, "name": "Other"})
        assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (422, "idempotency-key-reused")

    async def test_a_refused_request_may_be_repeated(self, app: FastAPI) -> None:
        async with running(app) as client:
            admin = await member(app, "admin")
            headers = {**admin.headers, "idempotency-key": "once"}
            wanted = {**NEW, "scopes": ["data:write"]}
            assert (await client.post("/v1/api-keys", headers=headers, json=wanted)).status_code == 403
            answer = await client.post("/v1/api-keys", headers={**BEARER, "idempotency-key": "once"}, json=wanted)
        assert answer.status_code == 201

    async def test_a_repeated_rotation_ends_nothing_twice(self, app: FastAPI) -> None:
        async with running(app) as client:
            old = await created(client)
            headers = {**BEARER, "idempotency-key": "once"}
            path = f"/v1/api-keys/{old['id']}/rotate"
            first = await client.post(path, headers=headers, json={})
            again = await client.post(path, headers=headers, json={})
            assert (first.status_code, again.status_code) == (201, 409)
            assert again.json()["key_id"] == first.json()["id"]
            assert await status(client, first.json()["key"]) == 200
