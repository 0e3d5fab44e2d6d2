"""Conversations are one's own: listed, found, changed and deleted by their owner, and not there for anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from crewmesh_agent_crew.live.words import Words
from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import identity
from crewmesh_testkit.scripted_model import ScriptedModel

from .chatting import Person, Screen, person, with_agent
from .harness import MODEL_KEY, Running, until


@pytest.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    async with ScriptedModel(api_key=MODEL_KEY) as model:
        yield model


@pytest.fixture
async def ann(service: Running) -> Person:
    await with_agent(service)
    return await person(service, "a").begin(agent="assistant", title="Of Ann")


async def test_nobody_else_finds_it(ann: Person, service: Running) -> None:
    exchange = await ann.say("my secret")
    file = (await ann.attach("notes.txt", b"more of it")).json()
    stranger = identity("*", organization=new_id("org"), subject=ann.who.subject)
    owner = identity("*", organization=service.organization, subject=f"usr_{'c' * 32}")
    answer = exchange["answer"]["id"]
    for who in (person(service, "b").who, owner, stranger):
        other = Person(service, who, ann.id)
        assert (await other.ask("GET", "/v1/conversations")).json()["items"] == []
        asked = [
            await other.ask("GET", other.path),
            await other.ask("GET", f"{other.path}/messages"),
            await other.ask("GET", f"{other.path}/messages/{answer}"),
            await other.ask("GET", f"{other.path}/events"),
            await other.ask("GET", f"{other.path}/attachments/{file['id']}"),
            await other.ask("POST", f"{other.path}/messages", {"text": "Hi"}),
            await other.ask("POST", f"{other.path}/messages/{answer}/regenerate", {}),
            await other.ask("POST", f"{other.path}/messages/{answer}/decisions", {"question": "q", "approved": True}),
            await other.ask("POST", f"{other.path}/cancel"),
            await other.attach("notes.txt", b"text"),
            await other.ask("PATCH", other.path, {"title": "Mine"}, if_match="*"),
            await other.ask("DELETE", other.path),
        ]
        assert {each.status_code for each in asked} == {404}, [each.text for each in asked]
        assert {each.json()["type"].rsplit("/", 1)[-1] for each in asked} == {"conversation-not-found"}
        run = await other.ask("GET", f"/v1/crew-runs/{exchange['answer']['crew_run']}")
        assert run.status_code == 404


async def test_every_route_wants_its_permission(ann: Person, service: Running) -> None:
    reader = Person(service, identity("crews:read", organization=service.organization, subject=ann.who.subject), ann.id)
    assert (await reader.ask("GET", reader.path)).status_code == 200
    nobody = Person(service, identity("runs:read", organization=service.organization, subject=ann.who.subject), ann.id)
    assert (await nobody.ask("GET", nobody.path)).status_code == 403
    for who in (reader, nobody):
        refused = [
            await who.ask("POST", "/v1/conversations", {"agent": "assistant"}),
            await who.ask("POST", f"{who.path}/messages", {"text": "Hi"}),
            await who.ask("POST", f"{who.path}/cancel"),
            await who.ask("PATCH", who.path, {"title": "x"}, if_match="*"),
            await who.ask("DELETE", who.path),
        ]
        assert {each.status_code for each in refused} == {403}
    assert (await service.client.get(ann.path)).status_code == 401


async def test_it_is_begun_once_per_key_and_with_somebody(ann: Person) -> None:
    key = new_id("test")
    first = await ann.ask("POST", "/v1/conversations", {"agent": "assistant"}, key=key)
    again = await ann.ask("POST", "/v1/conversations", {"agent": "assistant"}, key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.headers["location"] == f"/v1/conversations/{first.json()['id']}"
    for wrong, status in (
        ({}, 422),
        ({"agent": "assistant", "crew": "answer-desk"}, 422),
        ({"agent": "nobody"}, 404),
        ({"crew": "nobody"}, 404),
        ({"agent": "assistant", "title": "Invoice\u202egpj.exe"}, 422),
        ({"agent": "assistant", "unknown": 1}, 422),
    ):
        answer = await ann.ask("POST", "/v1/conversations", wrong)
        assert answer.status_code in (status, 422), (wrong, answer.text)


async def test_ones_own_are_listed_the_latest_first_and_found(ann: Person) -> None:
    titles = ["100% cotton", "under_score", "Straße", "plain"]
    made = [await ann.begin(agent="assistant", title=title) for title in titles]
    await made[0].say("Hi")
    listed = (await ann.ask("GET", "/v1/conversations?limit=3")).json()
    assert [each["title"] for each in listed["items"]] == ["100% cotton", "plain", "Straße"]
    rest = (await ann.ask("GET", f"/v1/conversations?limit=3&cursor={listed['next_cursor']}")).json()
    assert [each["title"] for each in rest["items"]] == ["under_score", "Of Ann"]
    for search, found in (("%25", ["100% cotton"]), ("_", ["under_score"]), ("STRA", ["Straße"]), ("%5C", [])):
        items = (await ann.ask("GET", f"/v1/conversations?q={search}")).json()["items"]
        assert [each["title"] for each in items] == found, search
    await ann.ask("PATCH", made[3].path, {"archived": True}, if_match="*")
    archived = (await ann.ask("GET", "/v1/conversations?archived=true")).json()["items"]
    assert [each["title"] for each in archived] == ["plain"]
    for cursor in ("x", "W10", "WzkyMjMzNzIwMzY4NTQ3NzU4MDcwMDAwMCwieCJd"):
        assert (await ann.ask("GET", f"/v1/conversations?cursor={cursor}")).status_code == 400


async def test_what_is_deleted_is_gone_with_what_was_worked_for_it(ann: Person, service: Running) -> None:
    exchange = await ann.say("my secret")
    await ann.attach("notes.txt", b"more of it")
    assert (await ann.ask("DELETE", ann.path)).status_code == 204
    assert (await ann.ask("GET", ann.path)).status_code == 404
    async with service.database.tenant(service.organization) as connection:
        for table in ("conversations", "conversation_messages", "conversation_attachments", "conversation_events"):
            row = await (await connection.execute(f"SELECT count(*) AS n FROM {table}")).fetchone()  # pyright: ignore[reportArgumentType]  names from above
            assert row is not None
            assert row["n"] == 0, table
    assert (await ann.ask("GET", f"/v1/crew-runs/{exchange['answer']['crew_run']}")).status_code == 404


async def test_deleting_breaks_off_an_answer_and_ends_its_stream(
    ann: Person, service: Running, model: ScriptedModel
) -> None:
    await ann.say("Hi")
    model.words_per_second = 10
    model.otherwise = " ".join("word" for _ in range(2_000))
    exchange = await ann.say("Tell me", wait=0)
    screen = Screen(last_id=exchange["follow_from"])
    deleted = False
    async with asyncio.timeout(180), ann.following(screen) as events:
        async for event in events:
            if event.kind == "words" and not deleted:
                deleted = (await ann.ask("DELETE", ann.path)).status_code == 204
    assert deleted
    assert screen.kinds()[-1] == "words"
    await until(lambda: model.abandoned == 1)
    said = await service.resources.get(Words).said(service.organization, exchange["answer"]["crew_run"])
    assert len(said.split()) < 2_000
