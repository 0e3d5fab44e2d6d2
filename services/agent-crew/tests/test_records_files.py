"""Agents, crews and prompts as files: in and out the same, all or nothing, and every mistake at once."""

from __future__ import annotations

import json

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.documents.yaml_text import read_yaml

from .harness import Running
from .records_api import Api, agent, crew, errors, slug

UNREADABLE = (
    ("", "there is nothing in it"),
    ("[]", "there is nothing in it"),
    ("a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
     "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
     "e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n", "more than 100000 values"),
    ("name: a\nname: b", "is there twice"),
    ("name: !!python/object/apply:os.system [id]", "means nothing here"),
    ("[" * 200, "nested"),
    ("name: 'a\x00b'", "unacceptable"),
    ('name: "a\\0b"', "NUL"),
    ("---\n".join("a: 1\n" for _ in range(101)), "more than 100 documents"),
    ("name: \xff\xfe", "UTF-8"),
)  # fmt: skip


@pytest.fixture
def agents(service: Running) -> Api:
    return Api(service, "agents")


async def test_what_goes_out_comes_in_the_same(agents: Api) -> None:
    abuse = "no\n{{7*7}} 'x' \"y\" # z\n\n  - a: b\n\u2028 😀 \t end "
    rich = agent(
        "ann",
        preset="backend",
        backstory=abuse,
        tools=[{"kind": "http", "name": "site", "url": "https://example.org", "methods": ["POST"]}],
        limits={"seconds": 7.5},
        output_schema={"type": "object", "properties": {"no": {"const": "0123"}}},
    )
    made = await agents.made(rich)
    for notation, media_type in (("yaml", "application/yaml"), ("json", "application/json")):
        out = await agents.get(f"ann/export?format={notation}")
        assert out.headers["content-type"].startswith(media_type)
        assert out.headers["content-disposition"] == f'attachment; filename="ann.{notation}"'
        assert "memory" not in out.text, "what is as it would be anyway is left out"
        back = (await agents.import_(out.content, media_type=media_type)).json()
        assert [(item["change"], item["version"]) for item in back["items"]] == [("unchanged", 1)]
        await agents.delete("ann")
        again = (await agents.import_(out.content, media_type=media_type)).json()
        assert [item["change"] for item in again["items"]] == ["created"]
        assert (await agents.get("ann")).json()["definition"] == made["definition"]
    assert (await agents.get("ann/export?format=xml")).status_code == 400


async def test_several_documents_are_one_import(agents: Api) -> None:
    await agents.made(agent("ann"))
    text = "name: ann\nrole: Writer\ngoal: Better.\n---\nname: bob\npreset: qa\n---\n- name: cy\n  preset: data\n"
    planned = (await agents.import_(text, query="dry_run=true")).json()
    assert planned["applied"] is False
    assert [(item["document"], item["name"], item["change"]) for item in planned["items"]] == [
        (1, "ann", "changed"),
        (2, "bob", "created"),
        (3, "cy", "created"),
    ]
    assert await agents.listed() == ["ann"]
    done = (await agents.import_(text)).json()
    assert done["applied"] is True
    assert [(item["name"], item["version"]) for item in done["items"]] == [("ann", 2), ("bob", 1), ("cy", 1)]
    listed = json.dumps([agent("dan"), agent("eve", model="gpt-99")])
    items = (await agents.import_(listed, media_type="application/json")).json()["items"]
    assert [(item["name"], len(item["warnings"])) for item in items] == [("dan", 0), ("eve", 1)]
    assert await agents.listed() == ["ann", "bob", "cy", "dan", "eve"]


async def test_every_mistake_is_told_at_once_and_nothing_is_imported(agents: Api) -> None:
    text = """
name: ann
role: Writer
---
name: Bad Name
preset: qa
surprise: 1
---
just a text
---
name: good
preset: qa
---
name: good
preset: writer
"""
    refused = await agents.import_(text)
    assert slug(refused) == (422, "invalid-documents")
    assert [(error["document"], error["path"]) for error in errors(refused)] == [
        (1, ""),
        (2, "name"),
        (2, "surprise"),
        (3, ""),
        (5, "name"),
    ]
    text = "name: a\npreset: wizard\n---\nname: b\nprompt: {use: nothing}\nrole: R\ngoal: G\n---\nname: c\npreset: qa\n"
    refused = await agents.import_(text)
    assert [(error["document"], error["path"]) for error in errors(refused)] == [(1, "preset"), (2, "prompt.use")]
    assert await agents.listed() == []


async def test_a_file_that_cannot_be_read(agents: Api) -> None:
    for text, said in UNREADABLE:
        refused = await agents.import_(text.encode("latin-1"))
        assert slug(refused) == (400, "unreadable-document"), refused.text
        assert said in refused.json()["detail"], refused.text


async def test_how_it_is_sent(agents: Api) -> None:
    assert (await agents.import_("x" * (1024 * 1024 + 1))).status_code == 413
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert (await agents.import_("name: a", media_type=media_type)).status_code == 415
    assert slug(await agents.import_("name: a", media_type="application/json")) == (400, "unreadable-document")


async def test_crews_are_imported_with_what_they_refer_to_or_not_at_all(agents: Api) -> None:
    crews = Api(agents.service, "crews")
    tell: JsonObject = {"name": "tell", "description": "Tell it.", "expected_output": "Words."}
    text = json.dumps(crew("tellers", agents=[{"use": "ann"}], tasks=[tell]))
    refused = await crews.import_(text, media_type="application/json")
    assert [(error["document"], error["path"]) for error in errors(refused)] == [(1, "agents.0.use")]
    await agents.made(agent("ann"))
    assert (await crews.import_(text, media_type="application/json")).status_code == 200
    out = await crews.get("tellers/export?format=yaml")
    assert read_yaml(out.text) == {"name": "tellers", "agents": [{"use": "ann"}], "tasks": [tell]}


async def test_what_one_may_not_change_is_not_changed_by_a_file(agents: Api) -> None:
    await agents.made(agent("ann"))
    await agents.share("ann")
    editor = agents.as_(agents.service.who("crews:read", "crews:write"))
    refused = await editor.import_("name: ann\npreset: qa\n---\nname: bob\npreset: qa\n")
    assert [(error["document"], error["path"]) for error in errors(refused)] == [(1, "name")]
    assert await agents.listed() == ["ann"]
