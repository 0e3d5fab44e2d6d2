"""Workflows as files: a plan first, then all of it or nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import OTHER_ORGANIZATION, identity

from services.workflow.tests.definitions_api import Api, definitions_api

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "gitops.md").read_text()
STRANGER = identity("workflows:read", "workflows:write", organization=OTHER_ORGANIZATION)


@pytest.fixture
async def api(url: str) -> AsyncGenerator[Api]:
    async with definitions_api(url) as made:
        yield made


def file(slug: str, *, name: str = "w", output: str = "1", path: str | None = None) -> JsonObject:
    content = f"""
name: {name}
slug: {slug}
triggers:
- {{kind: event, type: com.example.happened}}
nodes:
- id: b
  kind: transform
  output:
    x: "{output}"
"""
    return {"path": path or f"flows/{slug}.yaml", "content": content}


async def apply(api: Api, *files: JsonValue, **more: JsonValue) -> list[tuple[str, str, int]]:
    """(slug, action, version) of each step of the plan."""
    answer = await api.post("/apply", {"files": [*files], **more})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["applied"] is not more.get("dry_run", False)
    return [(step["slug"], step["action"], step["version"]) for step in told["plan"]]


async def names(api: Api, query: str = "") -> dict[str, str]:
    items = (await api.get(f"?{query}")).json()["items"]
    return {item["slug"]: item["name"] for item in items}


async def test_a_plan_changes_nothing(api: Api) -> None:
    assert await apply(api, file("a"), file("b"), dry_run=True) == [("a", "create", 1), ("b", "create", 1)]
    assert await names(api) == {}
    assert await apply(api, file("a"), file("b")) == [("a", "create", 1), ("b", "create", 1)]
    planned = await api.post("/apply", {"files": [file("a"), file("b", name="new")], "dry_run": True})
    same, new = planned.json()["plan"]
    assert (same["action"], same["changes"], same["version"]) == ("unchanged", None, 1)
    assert (new["action"], new["version"], new["path"]) == ("update", 2, "flows/b.yaml")
    assert new["changes"]["other"] == [{"path": "name", "before": "w", "after": "new"}]
    assert await names(api) == {"a": "w", "b": "w"}


async def test_applying_again_changes_nothing(api: Api) -> None:
    await apply(api, file("a"), file("b"))
    before = await api.get("")
    assert await apply(api, file("a"), file("b"), prune=True) == [("a", "unchanged", 1), ("b", "unchanged", 1)]
    assert (await api.get("")).json() == before.json()


async def test_an_update_is_a_version_with_its_message(api: Api) -> None:
    await apply(api, file("a"))
    assert await apply(api, file("a", name="new"), message="commit 1234") == [("a", "update", 2)]
    newest = (await api.get("/a/versions")).json()["items"][0]
    assert (newest["message"], newest["published_by"]) == ("commit 1234", api.who.subject)
    [trigger] = await api.triggers((await api.get("/a")).json()["id"])
    assert (trigger["workflow_version"], trigger["enabled"]) == (2, True)


async def test_every_mistake_of_every_file_and_nothing_done(api: Api) -> None:
    await apply(api, file("a"))
    files: list[JsonValue] = [
        file("a", name="new"),
        file("b", output="{{ 7*7 }}"),
        file("c", path="c.yaml"),
        file("c", path="again.yaml"),
        {"path": "tabs.yaml", "content": "a:\n\t- b"},
        {"path": "twice.yaml", "content": "name: a\nname: b"},
        {
            "path": "no-slug.json",
            "content": '{"name": "w", "nodes": [{"id": "b", "kind": "transform", "output": {"x": 1}}]}',
        },
        {"path": "shape.json", "content": '{"name": "w", "slug": "s", "nodes": [{"id": "b", "kind": "http"}]}'},
        {
            "path": "all.json",
            "content": '{"name": "w", "nodes": [{"id": "b", "kind": "htpp"}], "output": {"x": "{{ nope }}"}}',
        },
        {"path": "bad-slug.json", "content": '{"name": "w", "slug": 5, "nodes": [{"id": "b", "kind": "htpp"}]}'},
    ]
    for dry_run in (True, False):
        refused = await api.post("/apply", {"files": files, "dry_run": dry_run})
        assert refused.status_code == 422
        assert refused.json()["type"].endswith("/invalid-files")
        assert {(error["file"], error["path"]) for error in refused.json()["errors"]} == {
            ("flows/b.yaml", "nodes.b.output.x"),
            ("again.yaml", "slug"),
            ("tabs.yaml", ""),
            ("twice.yaml", ""),
            ("no-slug.json", "slug"),
            ("shape.json", "nodes.b.url"),
            ("all.json", "nodes.b"),
            ("all.json", "output.x"),
            ("all.json", "slug"),
            ("bad-slug.json", "nodes.b"),
            ("bad-slug.json", "slug"),
        }
        assert len(refused.json()["errors"]) == 11, "each once"
    assert await names(api) == {"a": "w"}


async def test_an_import_tells_that_its_slug_is_missing_beside_the_rest(api: Api) -> None:
    refused = await api.post("/import", {"name": 5, "nodes": [{"id": "b", "kind": "http", "url": "{{ nope }}"}]})
    assert [error["path"] for error in refused.json()["errors"]] == ["name", "nodes.b.url", "slug"]


async def test_what_files_brought_files_take_away(api: Api) -> None:
    await api.create(slug="by-hand")
    await apply(api, file("a"), file("b"))
    planned = await api.post("/apply", {"files": [file("a")], "prune": True, "dry_run": True})
    assert [step["action"] for step in planned.json()["plan"]] == ["unchanged", "archive"]
    assert await apply(api, file("a")) == [("a", "unchanged", 1)], "only when asked to"
    assert await apply(api, file("a"), prune=True) == [("a", "unchanged", 1), ("b", "archive", 1)]
    assert await names(api) == {"a": "w", "by-hand": "w"}
    assert await names(api, "status=archived") == {"b": "w"}
    assert (await api.post("/apply", {"files": [], "prune": True})).status_code == 422, "no files are a mistake"


async def test_what_was_taken_away_comes_back_as_what_it_was(api: Api) -> None:
    await apply(api, file("a"), file("b"))
    id_ = (await api.get("/b")).json()["id"]
    await apply(api, file("a"), prune=True)
    assert [trigger["enabled"] for trigger in await api.triggers(id_)] == [False]
    planned = await api.post("/apply", {"files": [file("a"), file("b")]})
    assert planned.json()["plan"][1] | {"restored": True} == planned.json()["plan"][1]
    found = (await api.get("/b")).json()
    assert (found["id"], found["status"], found["version"]) == (id_, "active", 1)
    assert [trigger["enabled"] for trigger in await api.triggers(id_)] == [True]


async def test_a_file_takes_over_what_was_made_by_hand(api: Api) -> None:
    id_ = await api.create(slug="a", name="by hand")
    await api.edit(id_, slug="a", name="draft")
    await api.put(f"/{id_}/status", {"status": "paused"})
    assert await apply(api, file("a", name="from a file")) == [("a", "update", 2)]
    found = (await api.get("/a")).json()
    assert (found["id"], found["name"], found["status"]) == (id_, "from a file", "paused"), "pausing is for people"
    assert (await api.get("/a/draft")).json()["definition"]["name"] == "draft", "a draft is nobody's to throw away"
    await apply(api, file("b"), prune=True)
    assert await names(api) == {"b": "w"}


async def test_one_key_applies_once(api: Api) -> None:
    body: JsonObject = {"files": [file("a")]}
    answers = await asyncio.gather(*(api.post("/apply", body, idempotency_key="k") for _ in range(5)))
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["plan"][0]["action"] == "create"


async def test_applies_at_the_same_time_come_one_after_another(api: Api) -> None:
    answers = await asyncio.gather(*(api.post("/apply", {"files": [file("a", name=f"n{n}")]}) for n in range(6)))
    steps = [answer.json()["plan"][0] for answer in answers]
    assert sorted((step["action"], step["version"]) for step in steps) == [
        ("create", 1),
        *(("update", version) for version in range(2, 7)),
    ]


async def test_workflows_that_name_each_other(api: Api) -> None:
    """Whichever file comes first: whose runs' ends are waited for is known when all are there."""
    waits = '{"name": "w", "slug": "%s", "triggers": [{"kind": "run_ended", "workflow": "%s"}], "nodes": %s}'
    nodes = '[{"id": "b", "kind": "transform", "output": {"x": 1}}]'
    files: list[JsonValue] = [
        {"path": "one.json", "content": waits % ("one", "two", nodes)},
        {"path": "two.json", "content": waits % ("two", "one", nodes)},
    ]
    await apply(api, *files)
    ids = {slug: (await api.get(f"/{slug}")).json()["id"] for slug in ("one", "two")}
    assert [trigger["target"] for trigger in await api.triggers(ids["one"])] == [ids["two"]]
    assert [trigger["target"] for trigger in await api.triggers(ids["two"])] == [ids["one"]]


async def test_two_hundred_files(api: Api) -> None:
    files = [file(f"w-{number}") for number in range(200)]
    assert {action for _, action, _ in await apply(api, *files)} == {"create"}
    assert {action for _, action, _ in await apply(api, *files)} == {"unchanged"}


async def test_what_was_exported_can_be_applied(api: Api) -> None:
    await api.create(slug="a", output={"on": "no", "zip": "01234", "text": "one\ntwo"})
    exported = (await api.get("/a/export?format=yaml")).text
    assert await apply(api, {"path": "a.yml", "content": exported}) == [("a", "unchanged", 1)]


async def test_the_file_of_the_guide(api: Api) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)
    assert await apply(api, {"path": "greets.yaml", "content": example}) == [("greets", "create", 1)]


async def test_files_are_an_organizations_own(api: Api) -> None:
    await apply(api, file("a"))
    stranger = api.as_(STRANGER)
    assert await apply(stranger, file("b"), prune=True) == [("b", "create", 1)]
    assert await names(api) == {"a": "w"}
