"""Agents as records over HTTP: made, found, changed under their ETag, archived, and their history."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_kit.ids import new_id

from .harness import Running
from .records_api import Api, agent, crew, errors, paths, slug

_TELL: JsonValue = {"name": "tell", "description": "Tell it.", "expected_output": "Words."}

NO_AGENT: tuple[Mapping[str, object], ...] = (
    *({"name": name} for name in ("", "__proto__", "__class__", "../etc", "a b", "x" * 10_000, "a\u202eb", "ä")),
    *({"name": value} for value in (None, {"a": 1}, ["ann"], 7)),
    *({"name": reserved} for reserved in ("import", "statuses")),
    {"role": "a\u202eb"},
    {"role": "two\nlines"},
    {"role": "x" * 201},
    {"goal": "a\x00b"},
    {"goal": {"text": "x"}},
    {"backstory": "x" * 20_001},
    {"model": "a\x00b"},
    {"skills": ["A b"]},
    {"tools": [{"kind": "shell", "name": "sh"}]},
    {"tools": [{"kind": "code", "name": "run"}, {"kind": "code", "name": "run"}]},
    {"output_schema": {"title": "a\x00b"}},
    {"output_schema": {"$ref": "http://example.org/schema"}},
    {"role": ""},
    {"specialization": "python"},
    {"backstory": "x", "prompt": {"use": "p"}},
    {"surprise": 1},
)


@pytest.fixture
def agents(service: Running) -> Api:
    return Api(service, "agents")


class TestCreating:
    async def test_an_agent_is_there_afterwards(self, agents: Api) -> None:
        created = await agents.create(agent("ann", preset="backend", specialization="python", skills=["sql"]))
        assert created.status_code == 201
        assert (created.headers["location"], created.headers["etag"]) == ("/v1/agents/ann", '"1"')
        made = created.json()
        by_name, by_id = await agents.get("ann"), await agents.get(made["id"])
        assert by_name.json() == by_id.json() == made
        assert made["definition"]["preset"] == "backend"
        assert (made["version"], made["archived_at"], made["warnings"]) == (1, None, [])

    async def test_a_name_is_there_once(self, agents: Api) -> None:
        await agents.made(agent("ann"))
        assert slug(await agents.create(agent("ann"))) == (409, "agent-exists")

    async def test_fifty_requests_with_one_key_make_one_agent(self, agents: Api) -> None:
        key = new_id("test")
        answers = await asyncio.gather(*(agents.create(agent("ann"), key=key) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert await agents.listed() == ["ann"]

    async def test_what_it_refers_to_must_be_there(self, agents: Api) -> None:
        wrong = agent("ann", preset="wizard", prompt={"use": "nothing"}, output_schema={"type": "wrong"})
        answer = await agents.create(wrong)
        assert slug(answer) == (422, "invalid-definition")
        assert paths(answer) == {"output_schema"}
        answer = await agents.create({**wrong, "output_schema": None})
        assert paths(answer) == {"preset", "prompt.use"}
        answer = await agents.create(agent("ann", preset="backend", specialization="cobol"))
        assert "python, go, node, java" in str(errors(answer)[0]["message"])

    async def test_a_model_that_nobody_knows_is_a_warning(self, agents: Api) -> None:
        made = await agents.made(agent("ann", model="gpt-99-ultra"))
        assert "gpt-99-ultra" in str(made["warnings"])
        assert (await agents.get("ann")).json()["warnings"] == []

    async def test_what_is_no_agent_is_refused(self, agents: Api) -> None:
        for wrong in NO_AGENT:
            answer = await agents.create({**agent("ann"), **wrong})
            assert answer.status_code == 422, (wrong, answer.text)
        assert await agents.listed() == []

    async def test_texts_come_back_as_they_are(self, agents: Api) -> None:
        abuse = "{{7*7}} ${7*7} {0.__class__} <b> ' OR 1=1 -- שלום\u200f \u202e 😀"
        made = await agents.made(agent("ann", goal=abuse, backstory=abuse, description=abuse))
        found = (await agents.get("ann")).json()
        assert made["definition"] == found["definition"]
        assert {found["definition"][field] for field in ("goal", "backstory", "description")} == {abuse}


class TestListing:
    async def test_pages_and_filters(self, agents: Api) -> None:
        await agents.made(agent("api-one", tags=["core"], skills=["sql"]))
        await agents.made(agent("api-two", preset="data"))
        await agents.made(agent("web", tags=["core", "web"]))
        assert await agents.listed() == ["api-one", "api-two", "web"]
        assert await agents.listed("prefix=api-") == ["api-one", "api-two"]
        assert await agents.listed("tag=core") == ["api-one", "web"]
        assert await agents.listed("skill=sql") == ["api-one", "api-two"], "what the preset brings counts"
        assert await agents.listed("skill=sql&tag=core&prefix=web") == []
        page = (await agents.service.get("/v1/agents?limit=2")).json()
        rest = (await agents.service.get(f"/v1/agents?limit=2&cursor={page['next_cursor']}")).json()
        assert [item["name"] for item in (*page["items"], *rest["items"])] == ["api-one", "api-two", "web"]
        assert rest["next_cursor"] is None
        for query in ("tag=A%20b", "prefix=%00", "skill=%F0%9F", "limit=0", "cursor=x"):
            assert (await agents.service.get(f"/v1/agents?{query}")).status_code in (400, 422), query


class TestChanging:
    async def test_a_change_is_a_new_version(self, agents: Api) -> None:
        await agents.made(agent("ann"))
        changed = await agents.put("ann", agent("ann", goal="Write better."), if_match='"1"', message="Better")
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        assert (changed.json()["version"], changed.json()["message"]) == (2, "Better")
        same = await agents.put("ann", agent("ann", goal="Write better."), if_match='"2"')
        assert same.json()["version"] == 2, "the same again changes nothing"
        assert slug(await agents.put("ann", agent("ann"), if_match=None)) == (428, "precondition-required")
        assert slug(await agents.put("ann", agent("ann"), if_match='"1"')) == (412, "precondition-failed")
        assert slug(await agents.put("ann", agent("bob"))) == (422, "name-stays")
        assert slug(await agents.put("bob", agent("bob"))) == (404, "agent-not-found")

    async def test_of_many_changes_under_one_etag_one_wins(self, agents: Api) -> None:
        await agents.made(agent("ann"))
        answers = await asyncio.gather(
            *(agents.put("ann", agent("ann", goal=f"Goal {number}."), if_match='"1"') for number in range(20))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
        (winner,) = (answer for answer in answers if answer.status_code == 200)
        assert (await agents.get("ann")).json()["definition"] == winner.json()["definition"]
        assert len((await agents.get("ann/versions")).json()["items"]) == 2

    async def test_one_key_changes_once(self, agents: Api) -> None:
        await agents.made(agent("ann"))
        key = new_id("test")
        answers = [await agents.put("ann", agent("ann", goal="New."), if_match='"1"', key=key) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()


class TestHistory:
    async def test_versions_are_compared_and_brought_back(self, agents: Api) -> None:
        tool = {"kind": "code", "name": "run"}
        await agents.made(agent("ann", tools=[tool], skills=["a"]))
        await agents.put("ann", agent("ann", goal="New.", tools=[{**tool, "seconds": 9}], skills=["a", "b"]))
        versions = (await agents.get("ann/versions")).json()["items"]
        assert [version["version"] for version in versions] == [2, 1]
        assert (await agents.get("ann/versions/1")).json()["definition"]["goal"] == "Write well."
        assert slug(await agents.get("ann/versions/3")) == (404, "unknown-version")
        diff = (await agents.get("ann/versions/1/diff/2")).json()
        assert [change["path"] for change in diff["changes"]] == ["goal", "skills", "tools.run.seconds"]
        assert (await agents.get("ann/versions/2/diff/2")).json() == {"same": True, "changes": []}

        back = await agents.do("ann/rollback", {"version": 1}, if_match='"2"')
        assert (back.status_code, back.json()["version"]) == (200, 3)
        assert back.json()["message"] == "Back to version 1."
        assert (await agents.get("ann/versions/1/diff/3")).json()["same"] is True
        assert slug(await agents.do("ann/rollback", {"version": 1}, if_match='"2"')) == (412, "precondition-failed")
        assert slug(await agents.do("ann/rollback", {"version": 9})) == (404, "unknown-version")
        pages = (await agents.get("ann/versions?limit=2")).json()
        older = (await agents.get(f"ann/versions?limit=2&cursor={pages['next_cursor']}")).json()
        assert [version["version"] for version in (*pages["items"], *older["items"])] == [3, 2, 1]

    async def test_an_archived_one_gives_its_name_back_and_can_be_restored(self, agents: Api) -> None:
        first = await agents.made(agent("ann"))
        assert (await agents.delete("ann", if_match='"7"')).status_code == 412
        assert (await agents.delete("ann", if_match='"1"')).status_code == 204
        assert (await agents.delete(str(first["id"]))).status_code == 204, "twice is as good as once"
        assert await agents.listed() == []
        assert await agents.listed("archived=true") == [first["id"]]
        assert slug(await agents.get("ann")) == (404, "agent-not-found")
        assert (await agents.get(str(first["id"]))).json()["archived_at"] is not None
        assert slug(await agents.put(str(first["id"]), agent("ann"))) == (409, "archived")

        second = await agents.made(agent("ann", goal="Another."))
        assert second["id"] != first["id"]
        assert slug(await agents.do(f"{first['id']}/restore")) == (409, "agent-exists")
        await agents.delete("ann")
        restored = await agents.do(f"{first['id']}/restore")
        assert (restored.status_code, restored.json()["archived_at"]) == (200, None)
        assert (await agents.get("ann")).json()["id"] == first["id"]

    async def test_one_that_a_crew_needs_stays(self, agents: Api) -> None:
        await agents.made(agent("ann"))
        crews = Api(agents.service, "crews")
        await crews.made(crew("tellers", agents=[{"use": "ann"}], tasks=[_TELL]))
        refused = await agents.delete("ann")
        assert slug(refused) == (409, "still-used")
        assert refused.json()["used_by"] == ["the crew tellers"]
        assert (await crews.delete("tellers")).status_code == 204
        assert (await agents.delete("ann")).status_code == 204
        assert slug(await crews.create(crew("again", agents=[{"use": "ann"}], tasks=[_TELL]))) == (
            422,
            "invalid-definition",
        )

    async def test_an_agent_is_not_archived_while_a_crew_begins_to_need_it(self, agents: Api) -> None:
        """Whoever comes first: there is never a crew with an agent that is gone."""
        crews = Api(agents.service, "crews")
        for number in range(10):
            name = f"ann-{number}"
            await agents.made(agent(name))
            made, archived = await asyncio.gather(
                crews.create(crew(f"tellers-{number}", agents=[{"use": name}], tasks=[_TELL])), agents.delete(name)
            )
            assert (made.status_code, archived.status_code) in ((201, 409), (422, 204))


class TestAccess:
    async def test_every_route_wants_its_permission(self, agents: Api) -> None:
        await agents.made(agent("ann"))
        nobody = agents.as_(agents.service.who("knowledge:read"))
        reader = agents.as_(agents.service.who("crews:read"))
        reading = ("ann", "ann/versions", "ann/versions/1", "ann/versions/1/diff/1", "ann/export")
        for path in reading:
            assert (await nobody.get(path)).status_code == 403, path
            assert (await reader.get(path)).status_code == 200, path
        for who in (nobody, reader):
            answers = [
                await who.create(agent("bob")),
                await who.put("ann", agent("ann")),
                await who.delete("ann"),
                await who.do("ann/rollback", {"version": 1}),
                await who.do("ann/restore"),
                await who.import_("name: bob"),
            ]
            assert [answer.status_code for answer in answers] == [403] * 6

    async def test_another_organization_s_agents_do_not_exist(self, agents: Api) -> None:
        made = await agents.made(agent("ann"))
        stranger = agents.as_(agents.service.who("*", organization=new_id("org")))
        assert await stranger.listed() == []
        for ref in ("ann", str(made["id"])):
            answers = [
                await stranger.get(ref),
                await stranger.get(f"{ref}/versions"),
                await stranger.get(f"{ref}/export"),
                await stranger.put(ref, agent("ann")),
                await stranger.delete(ref),
                await stranger.do(f"{ref}/rollback", {"version": 1}),
                await stranger.do(f"{ref}/restore"),
            ]
            assert {slug(answer) for answer in answers} == {(404, "agent-not-found")}
        crews = Api(agents.service, "crews", stranger.who)
        refused = await crews.create(crew("thieves", agents=[{"use": "ann"}], tasks=[_TELL]))
        assert slug(refused) == (422, "invalid-definition")
        assert (await agents.get("ann")).json() == made
