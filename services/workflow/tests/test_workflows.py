"""Saving workflows: what is published can run, every mistake is named, and what is in use is not lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION, auth_headers, identity
from crewmesh_workflow.definitions import publishing, repository
from crewmesh_workflow.definitions.checking import check, runnable
from crewmesh_workflow.definitions.normal import spelled_out
from crewmesh_workflow.seed.subscriptions import answer_a_question

from services.workflow.tests.conftest import Running
from services.workflow.tests.definitions_api import Api, definition, definitions_api, event_trigger

STRANGER = identity("workflows:read", "workflows:write", organization=OTHER_ORGANIZATION)


@pytest.fixture
async def api(url: str) -> AsyncGenerator[Api]:
    async with definitions_api(url) as made:
        yield made


def slugs(answer: JsonObject, field: str = "errors", name: str = "path") -> set[str]:
    listed = answer[field]
    assert isinstance(listed, list)
    return {str(each[name]) for each in listed if isinstance(each, dict)}


async def test_save_get_list(api: Api) -> None:
    saved = await api.post("", definition(name="{{7*7}} verbatim"))
    assert saved.status_code == 201
    id_ = saved.json()["id"]
    assert saved.headers["location"] == f"/v1/workflows/{id_}"
    got = await api.get(f"/{id_}")
    assert got.json() == {name: value for name, value in saved.json().items() if name != "mistakes"}
    assert got.json()["definition"]["name"] == "{{7*7}} verbatim"
    assert got.headers["etag"] == saved.headers["etag"]
    again = await api.get(f"/{id_}", **{"if-none-match": got.headers["etag"]})
    assert again.status_code == 304
    listed = (await api.get("")).json()["items"]
    assert [workflow["id"] for workflow in listed] == [id_]


async def test_one_key_saves_one_workflow(api: Api) -> None:
    answers = await asyncio.gather(*(api.post("", definition(), idempotency_key="k") for _ in range(10)))
    assert len({answer.text for answer in answers}) == 1
    assert len((await api.get("")).json()["items"]) == 1
    other = await api.post("", definition(name="other"), idempotency_key="k")
    assert other.json()["type"].endswith("/idempotency-key-reused")


async def test_every_mistake_is_listed(api: Api) -> None:
    nodes: list[JsonValue] = [
        {"id": "a", "kind": "http", "url": "{{7*7}}", "body": {"deep": ["{{ steps.gone.output }}"]}},
        {"id": "b", "kind": "if", "condition": "steps.a.output.status =="},
        {"id": "c", "kind": "crew", "crew": "x", "inputs": {"q": "{{ steps.b.output.result }}"}},
    ]
    refused = await api.post("", definition(nodes=nodes))
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("/invalid-definition")
    assert slugs(refused.json()) >= {
        "nodes.a.url",
        "nodes.a.body.deep.0",
        "nodes.b.condition",
        "nodes.c.inputs.q",
    }
    checked = await api.post("/validate", definition(nodes=nodes))
    assert checked.status_code == 200
    assert checked.json()["valid"] is False
    assert checked.json()["mistakes"] == refused.json()["errors"]
    assert (await api.post("/validate", definition())).json() == {"valid": True, "mistakes": []}


async def test_mistakes_of_shape_have_places_too(api: Api) -> None:
    inner: JsonObject = {"id": "x", "kind": "http", "urll": "u", "compensate": {"do": {"id": "y", "kind": "crew"}}}
    nodes: list[JsonValue] = [
        {"id": "l", "kind": "for_each", "items": [], "body": {"nodes": [inner]}},
        {"id": "w", "kind": "workflow", "workflow": "Not A Slug"},
        {"id": "s", "kind": "shell"},
        {"id": "n"},
        3,
    ]
    checked = await api.post("/validate", {"nodes": nodes, "edges": [{"from": "l", "to": 1}], "unknown": 1})
    assert checked.status_code == 200
    assert slugs(checked.json(), "mistakes") >= {
        "name",
        "unknown",
        "nodes.l.body.nodes.x.urll",
        "nodes.l.body.nodes.x.url",
        "nodes.l.body.nodes.x.compensate.do.crew",
        "nodes.s",
        "nodes.n",
        "nodes.4",
        "edges.0.to",
    }
    assert not any("too short" in mistake["message"] for mistake in checked.json()["mistakes"])


@pytest.mark.parametrize(
    "bad",
    [
        {},
        definition(unknown=1),
        definition(nodes=[]),
        definition(nodes=[{"id": "x", "kind": "shell", "command": "rm"}]),
        definition(nodes=[{"id": "__proto__", "kind": "transform", "output": {"x": 1}}]),
        definition(edges=[{"from": "b", "to": "b"}]),
        definition(edges=[{"from": "b", "to": "nowhere"}]),
        definition(triggers=[{"type": "t", "cron": "* * * * *"}]),
    ],
)
async def test_bad_definitions_are_refused(api: Api, bad: JsonValue) -> None:
    refused = await api.post("", bad)
    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "slug"),
    [
        ("application/json", "[]", 400, "unreadable-document"),
        ("application/json", '{"name": ', 400, "unreadable-document"),
        ("application/json", '{"name": "a", "name": "b"}', 400, "unreadable-document"),
        ("application/json", '{"name": NaN}', 400, "unreadable-document"),
        ("application/json", '{"name": "a\\u0000"}', 400, "unreadable-document"),
        ("application/json", '{"name": "\\ud800"}', 400, "unreadable-document"),
        ("application/json", "[" * 100_000, 400, "unreadable-document"),
        ("application/json", '{"a": ' + "[" * 200 + "]" * 200 + "}", 400, "unreadable-document"),
        ("application/json", '{"a": ' + "9" * 5_000 + "}", 400, "unreadable-document"),
        ("application/json", '{"a": 1e999}', 400, "unreadable-document"),
        ("application/yaml", "name: !!python/name:os.system x", 400, "unreadable-document"),
        ("application/yaml", "- 1", 400, "unreadable-document"),
        ("application/yaml", "a: &a [*a]", 400, "unreadable-document"),
        ("text/plain", "name: x", 415, "unsupported-media-type"),
        ("application/json", '"' + "x" * 1_100_000 + '"', 413, "payload-too-large"),
    ],
)
async def test_what_cannot_be_read(api: Api, content_type: str, body: str, status: int, slug: str) -> None:
    refused = await api.post("", body, content_type=content_type)
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (status, slug), refused.text


async def test_yaml_is_as_good_as_json(api: Api) -> None:
    text = """
name: From a file
slug: from-a-file
triggers:
- {kind: event, type: t}
nodes:
- id: b
  kind: transform
  output: {x: 1}
"""
    saved = await api.post("", text, content_type="application/yaml; charset=utf-8")
    assert saved.status_code == 201, saved.text
    exported = await api.get("/from-a-file/export?format=yaml")
    assert exported.headers["content-type"].startswith("application/yaml")
    assert exported.headers["content-disposition"] == 'attachment; filename="from-a-file.yaml"'
    checked = await api.post("/import", exported.text, content_type="application/yaml")
    assert (checked.json()["action"], checked.json()["workflow"]) == ("unchanged", saved.json()["id"])
    as_json = (await api.get("/from-a-file/export")).json()
    assert spelled_out(await runnable(as_json)) == saved.json()["definition"]


async def test_import_makes_the_next_version(api: Api) -> None:
    assert slugs((await api.post("/import", definition())).json()) == {"slug"}
    first = (await api.post("/import", definition(slug="s"))).json()
    second = (await api.post("/import", definition(slug="s", name="new"))).json()
    assert (first["action"], second["action"], second["version"]) == ("create", "update", 2)
    assert second["changes"]["other"] == [{"path": "name", "before": "w", "after": "new"}]
    assert (await api.get("/s")).json()["name"] == "new"


async def test_permissions(api: Api) -> None:
    reader = api.as_(identity("workflows:read"))
    id_ = await api.create(slug="s")
    calls: list[tuple[str, str, JsonValue]] = [
        ("POST", "", definition()),
        ("PUT", f"/{id_}/draft", {}),
        ("POST", f"/{id_}/publish", {}),
        ("POST", f"/{id_}/rollback", {"version": 1}),
        ("PUT", f"/{id_}/status", {"status": "paused"}),
        ("POST", f"/{id_}/versions/1/migrate", {}),
        ("POST", "/apply", {"files": [{"path": "a", "content": "b"}]}),
        ("POST", "/import", definition()),
        ("DELETE", f"/{id_}", None),
    ]
    for method, path, body in calls:
        assert (await reader.call(method, path, body)).status_code == 403, path
    assert (await api.client.post("/v1/workflows", json=definition())).status_code == 401


async def test_another_organization_sees_nothing(api: Api) -> None:
    id_ = await api.create(slug="s")
    stranger = api.as_(STRANGER)
    for path in (f"/{id_}", "/s", f"/{id_}/draft", f"/{id_}/versions", f"/{id_}/versions/1", f"/{id_}/export"):
        assert (await stranger.get(path)).json()["type"].endswith("/unknown-workflow"), path
    assert (await stranger.get("")).json()["items"] == []
    assert (await stranger.call("DELETE", f"/{id_}")).status_code == 404
    assert (await stranger.post("", definition(slug="s"))).status_code == 201, "slugs are an organization's own"


async def test_a_list_is_narrowed_down(api: Api) -> None:
    one = await api.create(name="Send 100% of it", slug="one", triggers=[event_trigger()])
    two = await api.create(name="Clean up", slug="two", triggers=[{"kind": "cron", "expression": "0 4 * * *"}])
    three = await api.create(name="Old")
    await api.call("DELETE", f"/{three}")
    await api.put(f"/{two}/status", {"status": "paused"})

    async def found(query: str) -> list[str]:
        answer = await api.get(f"?{query}")
        assert answer.status_code == 200, answer.text
        return [workflow["id"] for workflow in answer.json()["items"]]

    assert await found("") == sorted([one, two], reverse=True)
    assert await found("status=archived") == [three]
    assert await found("status=archived&status=paused") == sorted([two, three], reverse=True)
    assert await found("slug=one") == [one]
    assert await found("name=100%25%20OF") == [one]
    assert await found("trigger=cron") == [two]
    assert await found("trigger=webhook") == []
    assert (await api.get("?trigger=smoke")).json()["type"].endswith("/unknown-trigger-kind")
    first = (await api.get("?limit=1")).json()
    newest, oldest = sorted([one, two], reverse=True)
    assert [workflow["id"] for workflow in first["items"]] == [newest]
    assert await found(f"limit=1&cursor={first['next_cursor']}") == [oldest]


async def test_a_slug_is_one_workflow_of_those_that_are_not_archived(api: Api) -> None:
    first = await api.create(slug="s")
    refused = await api.post("", definition(slug="s"))
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (409, "slug-taken")
    assert (await api.call("DELETE", "/s")).status_code == 204
    second = await api.create(slug="s")
    assert (await api.get("/s")).json()["id"] == second
    back = await api.put(f"/{first}/status", {"status": "active"})
    assert back.status_code == 409
    assert "'s'" in back.json()["detail"]
    await api.publish(second, slug="t")
    assert (await api.put(f"/{first}/status", {"status": "active"})).status_code == 200


async def test_a_key_is_the_workflows_and_not_the_slugs(api: Api) -> None:
    async def status(name: str, status: str) -> tuple[str, str]:
        done = (await api.put(f"/{name}/status", {"status": status}, idempotency_key="k")).json()
        return done["id"], done["status"]

    first = await api.create(slug="s")
    assert await status("s", "archived") == (first, "archived")
    assert await status("s", "archived") == (first, "archived")
    assert await status(first, "archived") == (first, "archived")
    second = await api.create(slug="s")
    assert await status("s", "archived") == (second, "archived")


async def test_status_says_whether_triggers_start_runs(api: Api) -> None:
    id_ = await api.create(triggers=[event_trigger(id="e")])

    async def enabled() -> list[bool]:
        return [bool(trigger["enabled"]) for trigger in await api.triggers(id_)]

    tag = (await api.get(f"/{id_}")).headers["etag"]
    assert await enabled() == [True]
    for status, expected in (("paused", False), ("active", True), ("archived", False), ("paused", False)):
        changed = await api.put(f"/{id_}/status", {"status": status})
        assert changed.json()["status"] == status
        assert await enabled() == [expected], status
    assert (await api.get(f"/{id_}", **{"if-none-match": tag})).status_code == 200, "the status is part of it"
    for _ in range(2):
        assert (await api.call("DELETE", f"/{id_}")).status_code == 204
    await api.publish(id_, triggers=[event_trigger(id="f")])
    assert await enabled() == [False], "publishing starts nothing that is off"
    assert (await api.put(f"/{id_}/status", {"status": "gone"})).status_code == 422


async def test_a_status_is_changed_only_of_what_was_read(api: Api) -> None:
    id_ = await api.create()
    tag = (await api.get(f"/{id_}")).headers["etag"]
    draft = (await api.get(f"/{id_}/draft")).headers["etag"]
    await api.publish(id_, name="another")
    for old in (tag, draft):
        assert (await api.put(f"/{id_}/status", {"status": "paused"}, if_match=old)).status_code == 412
        assert (await api.call("DELETE", f"/{id_}", if_match=old)).status_code == 412
    seen = await api.get(f"/{id_}")
    assert seen.json()["status"] == "active"
    paused = await api.put(f"/{id_}/status", {"status": "paused"}, if_match=seen.headers["etag"])
    assert paused.status_code == 200
    assert (await api.call("DELETE", f"/{id_}", if_match=seen.headers["etag"])).status_code == 412
    assert (await api.call("DELETE", f"/{id_}", if_match=paused.headers["etag"])).status_code == 204


async def test_only_an_active_workflow_is_started(service: Running) -> None:
    """Through the whole service: by events and by hand."""
    who = identity("workflows:read", "workflows:write", "runs:read", "runs:write", "events:write")
    body = definition(slug="s", triggers=[event_trigger()])
    id_ = (await service.post("/v1/workflows", who, body)).json()["id"]

    async def started(event: str) -> int:
        sent: JsonObject = {"specversion": "1.0", "id": event, "source": "t", "type": "com.example.happened"}
        return len((await service.post("/v1/events", who, sent)).json()["runs"])

    async def become(status: str) -> None:
        path = f"/v1/workflows/{id_}/status"
        headers = auth_headers(who, audience="workflow")
        assert (await service.client.put(path, json={"status": status}, headers=headers)).status_code == 200

    assert await started("1") == 1
    for status in ("paused", "archived"):
        await become(status)
        assert await started(status) == 0
        refused = await service.post(f"/v1/workflows/{id_}/runs", who, {"input": {}})
        assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (409, "workflow-not-active")
        assert f"/v1/workflows/{id_}/status" in refused.json()["detail"]
    await become("active")
    assert await started("2") == 1
    assert (await service.post("/v1/workflows/s/runs", who, {"input": {}})).status_code in (200, 201)


async def test_who_waits_for_runs_of_a_slug(api: Api) -> None:
    waiting = await api.create(triggers=[{"kind": "run_ended", "workflow": "later"}])
    assert [trigger["target"] for trigger in await api.triggers(waiting)] == [None]
    later = await api.create(slug="later")
    assert [trigger["target"] for trigger in await api.triggers(waiting)] == [later]


@pytest.mark.parametrize("change", ["status", "rollback", "apply"])
async def test_what_is_changed_while_a_version_is_published(api: Api, change: str) -> None:
    """Whoever had to wait for the publisher goes on from what that has left behind."""
    id_ = await api.create(slug="s", name="one", triggers=[event_trigger(id="e")])
    two = definition(slug="s", name="two", triggers=[event_trigger(id="e")])
    calls = {
        "status": lambda: api.put(f"/{id_}/status", {"status": "paused"}),
        "rollback": lambda: api.post(f"/{id_}/rollback", {"version": 1}),
        "apply": lambda: api.post("/apply", {"files": [{"path": "s.json", "content": json.dumps(two)}]}),
    }
    async with api.database.tenant(ORGANIZATION) as conn:
        await publishing.publish(conn, ORGANIZATION, id_, 2, await runnable(two), message="", by="")
        waiting = asyncio.create_task(calls[change]())
        await api.until_somebody_waits()
    answer = await waiting
    assert answer.status_code == 200, answer.text
    [trigger] = await api.triggers(id_)
    if change == "status":
        assert (answer.json()["version"], trigger["enabled"]) == (2, False)
    elif change == "rollback":
        assert (answer.json()["version"], trigger["workflow_version"]) == (3, 3)
    else:
        assert answer.json()["plan"][0]["action"] == "unchanged"


async def test_a_seed_is_planted_once(api: Api) -> None:
    for _ in range(2):
        async with api.database.tenant(ORGANIZATION) as conn:
            await repository.add(conn, ORGANIZATION, answer_a_question(), seed="s")
    [planted] = (await api.get("")).json()["items"]
    assert (planted["version"], planted["name"]) == (1, answer_a_question().name)
    assert [trigger["enabled"] for trigger in await api.triggers(planted["id"])] == [True]


def test_the_seed_can_run() -> None:
    assert check(spelled_out(answer_a_question())).mistakes == ()
