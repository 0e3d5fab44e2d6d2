"""Drafts and versions: saving loses nothing, publishing is what somebody looked at, and there is a way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import identity

from services.workflow.tests.definitions_api import Api, definition, definitions_api, event_trigger


@pytest.fixture
async def api(url: str) -> AsyncGenerator[Api]:
    async with definitions_api(url) as made:
        yield made


BROKEN: JsonObject = {"name": "half", "nodes": [{"id": "a", "kind": "http"}, {"id": "?"}], "edges": "not yet"}
ANYTHING: list[JsonObject] = [
    {},
    {"name": 3},
    {"nodes": [None, [], "x"], "edges": [1]},
    {"on_failure": {}, "triggers": [1]},
    BROKEN,
]


async def test_a_new_draft_may_be_wrong(api: Api) -> None:
    saved = await api.post("?publish=false", BROKEN)
    assert saved.status_code == 201
    assert (saved.json()["version"], saved.json()["definition"], saved.json()["name"]) == (0, None, "half")
    assert {mistake["path"] for mistake in saved.json()["mistakes"]} >= {"nodes.a.url", "edges"}
    id_ = saved.json()["id"]
    draft = await api.get(f"/{id_}/draft")
    assert draft.json()["definition"] == BROKEN
    assert (draft.json()["valid"], draft.json()["differs"]) == (False, True)
    refused = await api.post(f"/{id_}/publish", {}, if_match=draft.headers["etag"])
    assert refused.json()["type"].endswith("/invalid-definition")
    assert refused.json()["errors"] == draft.json()["mistakes"]
    assert (await api.get(f"/{id_}/export")).json()["type"].endswith("/nothing-published")
    assert await api.triggers(id_) == []
    assert (await api.get(f"/{id_}/versions")).json()["items"] == []
    published = await api.publish(id_, triggers=[event_trigger()])
    assert (published["version"], published["changed"]) == (1, True)
    assert len(await api.triggers(id_)) == 1


async def test_any_object_is_a_draft(api: Api) -> None:
    id_ = await api.create()
    for body in ANYTHING:
        saved = await api.put(f"/{id_}/draft", body, if_match="*")
        assert saved.status_code == 200, saved.text
        assert saved.json()["mistakes"]
        assert (await api.get(f"/{id_}/draft")).json() == saved.json()
        assert (await api.get(f"/{id_}/versions/1/diff/draft")).status_code == 200
        assert (await api.get(f"/{id_}")).json()["draft_differs"] is True
    assert (await api.put(f"/{id_}/draft", [], if_match="*")).status_code == 400
    assert (await api.get(f"/{id_}")).json()["name"] == "w", "what is published keeps its name"


async def test_two_editors_do_not_overwrite_each_other(api: Api) -> None:
    id_ = await api.create()
    seen = await api.get(f"/{id_}/draft")
    assert seen.json()["differs"] is False
    tag = seen.headers["etag"]
    missing = await api.put(f"/{id_}/draft", definition())
    assert missing.status_code == 428
    answers = await asyncio.gather(
        *(api.put(f"/{id_}/draft", definition(name=f"n{number}"), if_match=tag) for number in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
    [won] = [answer for answer in answers if answer.status_code == 200]
    now = await api.get(f"/{id_}/draft", **{"if-none-match": tag})
    assert now.json() == won.json()
    assert (await api.get(f"/{id_}/draft", **{"if-none-match": won.headers["etag"]})).status_code == 304
    stale = await api.post(f"/{id_}/publish", {}, if_match=tag)
    assert stale.status_code == 412
    assert (await api.post(f"/{id_}/publish", {})).status_code == 428


async def test_the_tag_of_the_workflow_will_do(api: Api) -> None:
    id_ = await api.create()
    tag = (await api.get(f"/{id_}")).headers["etag"]
    assert (await api.put(f"/{id_}/draft", definition(name="n"), if_match=tag)).status_code == 200
    assert (await api.put(f"/{id_}/draft", definition(name="m"), if_match=tag)).status_code == 412


async def test_pausing_does_not_stand_in_an_editors_way(api: Api) -> None:
    id_ = await api.create()
    tag = (await api.get(f"/{id_}/draft")).headers["etag"]
    await api.put(f"/{id_}/status", {"status": "paused"})
    assert (await api.put(f"/{id_}/draft", definition(name="n"), if_match=tag)).status_code == 200


async def test_publishing(api: Api) -> None:
    who = identity("workflows:read", "workflows:write", subject="usr_" + "b" * 32)
    id_ = await api.create(triggers=[event_trigger(id="e")])
    tag = await api.edit(id_, name="better", triggers=[event_trigger(id="f")])
    assert [trigger["key"] for trigger in await api.triggers(id_)] == ["e"]
    published = await api.as_(who).post(f"/{id_}/publish", {"message": "now f"}, if_match=tag, idempotency_key="p")
    assert published.json()["version"] == 2
    assert published.json()["waiting"] == []
    repeated = await api.as_(who).post(f"/{id_}/publish", {"message": "now f"}, if_match=tag, idempotency_key="p")
    assert repeated.text == published.text, "a repeated request is answered, not refused for its old tag"
    assert repeated.headers["etag"] == published.headers["etag"]
    [trigger] = await api.triggers(id_)
    assert (trigger["key"], trigger["workflow_version"]) == ("f", 2)
    listed = (await api.get(f"/{id_}/versions")).json()["items"]
    assert [(each["version"], each["message"], each["published"]) for each in listed] == [
        (2, "now f", True),
        (1, "", False),
    ]
    assert listed[0]["published_by"] == who.subject
    assert (await api.get(f"/{id_}")).json()["has_draft"] is False
    assert (await api.get(f"/{id_}/draft")).headers["etag"] == published.headers["etag"]


async def test_the_same_content_makes_no_version(api: Api) -> None:
    id_ = await api.create()
    tag = await api.edit(id_, edges=[], settings={"mode": "autonomous"})
    same = await api.post(f"/{id_}/publish", {}, if_match=tag)
    assert (same.json()["version"], same.json()["changed"]) == (1, False)
    assert "no new version" in same.json()["detail"]
    workflow = (await api.get(f"/{id_}")).json()
    assert (workflow["has_draft"], workflow["draft_differs"]) == (False, False)
    assert (await api.get(f"/{id_}/draft")).headers["etag"] == same.headers["etag"]


async def test_publishing_counts_what_stays_behind(api: Api) -> None:
    id_ = await api.create()
    for status in ("waiting", "waiting", "paused", "queued", "completed"):
        await api.run(id_, 1, status)
    await api.publish(id_, name="two")
    await api.run(id_, 2, "running")
    published = await api.publish(id_, name="three")
    assert published["waiting"] == [
        {"version": 2, "runs": {"queued": 0, "running": 1, "waiting": 0, "paused": 0}},
        {"version": 1, "runs": {"queued": 1, "running": 0, "waiting": 2, "paused": 1}},
    ]
    listed = (await api.get(f"/{id_}/versions")).json()["items"]
    assert [each["runs"]["waiting"] for each in listed] == [0, 0, 2]


async def test_a_taken_slug_stops_publishing(api: Api) -> None:
    await api.create(slug="s")
    id_ = await api.create()
    tag = await api.edit(id_, slug="s")
    refused = await api.post(f"/{id_}/publish", {}, if_match=tag)
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (409, "slug-taken")
    assert (await api.get(f"/{id_}/draft")).json()["differs"] is True, "the draft is still there"


async def test_versions_in_pages(api: Api) -> None:
    id_ = await api.create()
    for number in range(2, 5):
        await api.publish(id_, name=f"n{number}")
    first = (await api.get(f"/{id_}/versions?limit=3")).json()
    rest = (await api.get(f"/{id_}/versions?limit=3&cursor={first['next_cursor']}")).json()
    assert [each["version"] for each in (*first["items"], *rest["items"])] == [4, 3, 2, 1]
    assert rest["next_cursor"] is None
    third = await api.get(f"/{id_}/versions/3")
    assert third.json()["definition"]["name"] == "n3"
    assert (await api.get(f"/{id_}/versions/3", **{"if-none-match": third.headers["etag"]})).status_code == 304
    assert (await api.get(f"/{id_}/versions/9")).json()["type"].endswith("/unknown-workflow-version")
    assert (await api.get(f"/{id_}/versions/0")).status_code == 400


async def test_the_way_back(api: Api) -> None:
    id_ = await api.create(name="one", triggers=[event_trigger(id="e")])
    await api.publish(id_, name="two")
    await api.edit(id_, name="three")
    back = await api.post(f"/{id_}/rollback", {"version": 1})
    assert (back.json()["version"], back.json()["changed"]) == (3, True)
    workflow = (await api.get(f"/{id_}")).json()
    assert (workflow["definition"]["name"], workflow["has_draft"]) == ("one", True)
    assert [trigger["key"] for trigger in await api.triggers(id_)] == ["e"]
    assert (await api.get(f"/{id_}/draft")).json()["definition"]["name"] == "three"
    assert (await api.get(f"/{id_}/versions")).json()["items"][0]["message"] == "Back to version 1."
    again = await api.post(f"/{id_}/rollback", {"version": 1, "message": "again"})
    assert (again.json()["version"], again.json()["changed"]) == (3, False)
    assert (await api.post(f"/{id_}/rollback", {"version": 7})).status_code == 404
    assert (await api.post(f"/{id_}/rollback", {"version": 2}, if_match='"1.1"')).status_code == 412


async def test_a_version_that_could_not_run_today_is_no_way_back(api: Api) -> None:
    id_ = await api.create()
    await api.publish(id_, name="two")
    nodes: JsonValue = [{"id": "b", "kind": "if", "condition": "true =="}]
    await api.execute(
        "UPDATE workflow_versions SET definition = definition || %s WHERE workflow_id = %s AND version = 1",
        {"nodes": nodes},
        id_,
    )
    refused = await api.post(f"/{id_}/rollback", {"version": 1})
    assert refused.json()["type"].endswith("/invalid-definition")


async def test_what_differs(api: Api) -> None:
    id_ = await api.create()
    nodes: list[JsonValue] = [
        {"id": "b", "kind": "if", "condition": "false"},
        {"id": "h", "kind": "http", "url": "https://example.com"},
    ]
    await api.publish(id_, nodes=nodes, edges=[{"from": "b", "port": "true", "to": "h"}])
    told = (await api.get(f"/{id_}/versions/1/diff/2")).json()
    assert [node["path"] for node in told["nodes"]["added"]] == ["nodes.h"]
    assert told["edges"]["added"] == [{"graph": "", "from": "b", "port": "true", "to": "h"}]
    assert (await api.get(f"/{id_}/versions/2/diff/draft")).json()["same"] is True
    assert (await api.get(f"/{id_}/versions/2/diff/3")).status_code == 404
    assert (await api.get(f"/{id_}/versions/1/diff/latest")).status_code == 400
