"""Crews over HTTP and for new organizations."""

from __future__ import annotations

from crewmesh_agent_crew.crews.shipped import starter_crews
from crewmesh_agent_crew.crews.subscriptions import give_starter_crews
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.ids import new_id

from .harness import Running, organization_created
from .records_api import Api, agent, crew, slug


def renamed(name: str) -> JsonObject:
    return {**starter_crews()[0].model_dump(mode="json"), "name": name}


class TestCreating:
    async def test_a_crew_is_there_afterwards(self, service: Running) -> None:
        created = await service.post("/v1/crews", renamed("second"))
        assert created.status_code == 201
        assert created.headers["location"] == "/v1/crews/second"
        found = await service.get("/v1/crews/second")
        assert found.json() == created.json()
        assert found.headers["etag"] == created.headers["etag"]

    async def test_the_same_key_creates_once(self, service: Running) -> None:
        key = new_id("test")
        first = await service.post("/v1/crews", renamed("second"), key=key)
        again = await service.post("/v1/crews", renamed("second"), key=key)
        other = await service.post("/v1/crews", renamed("third"), key=key)
        assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
        assert again.json() == first.json()

    async def test_a_name_is_there_once(self, service: Running) -> None:
        answer = await service.post("/v1/crews", renamed("answer-desk"))
        assert answer.status_code == 409
        assert answer.json()["type"].endswith("/crew-exists")

    async def test_a_wrong_definition_is_named_by_its_place(self, service: Running) -> None:
        answer = await service.post("/v1/crews", {**renamed("x"), "agents": "nobody"})
        assert answer.status_code == 422
        assert "agents" in str(answer.json()["errors"])


class TestReading:
    async def test_crews_are_listed_in_pages(self, service: Running) -> None:
        for name in ("beta", "alpha"):
            await service.post("/v1/crews", renamed(name))
        first = (await service.get("/v1/crews?limit=2")).json()
        assert [crew["name"] for crew in first["items"]] == ["alpha", "answer-desk"]
        assert first["items"][0]["agents"] == ["researcher", "writer"]
        second = (await service.get(f"/v1/crews?limit=2&cursor={first['next_cursor']}")).json()
        assert [crew["name"] for crew in second["items"]] == ["beta"]
        assert second["next_cursor"] is None

    async def test_a_crew_that_did_not_change_is_not_sent_again(self, service: Running) -> None:
        etag = (await service.get("/v1/crews/answer-desk")).headers["etag"]
        answer = await service.get("/v1/crews/answer-desk", if_none_match=etag)
        assert (answer.status_code, answer.content) == (304, b"")

    async def test_an_unknown_crew(self, service: Running) -> None:
        for name, status in (("nobody", 404), ("__class__", 404), ("x" * 3000, 404), ("%00", 400)):
            answer = await service.get(f"/v1/crews/{name}")
            assert answer.status_code == status, name
            assert answer.headers["content-type"] == "application/problem+json"


class TestRecords:
    async def test_crews_are_found_by_what_they_are(self, service: Running) -> None:
        crews = Api(service, "crews")
        pair = [agent("ann", skills=["sql"]), agent("bob", preset="qa")]
        tasks = [{"name": "tell", "description": "Tell it.", "expected_output": "Words."}]
        await crews.made(crew("deciders", process="consensus", tags=["core"], agents=pair, tasks=tasks))
        assert await crews.listed() == ["answer-desk", "deciders"]
        for query in ("process=consensus", "tag=core", "skill=sql", "skill=testing", "prefix=dec"):
            assert await crews.listed(query) == ["deciders"], query
        assert await crews.listed("process=standup") == []
        assert (await service.get("/v1/crews?process=anarchy")).status_code in (400, 422)

    async def test_a_crew_is_changed_compared_and_archived(self, service: Running) -> None:
        crews = Api(service, "crews")
        made = await crews.made(crew("tellers"))
        teller = {"name": "teller", "role": "teller", "goal": "tell all"}
        changed = await crews.put("tellers", crew("tellers", agents=[teller], rounds=5), if_match='"1"')
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        diff = (await crews.get("tellers/versions/1/diff/2")).json()
        assert [change["path"] for change in diff["changes"]] == ["rounds", "agents.teller.goal"]
        assert (await crews.delete("tellers")).status_code == 204
        assert slug(await crews.get("tellers")) == (404, "crew-not-found")
        assert (await crews.get(str(made["id"]))).json()["version"] == 2

    async def test_names_that_stand_for_something_else_in_paths_are_refused(self, service: Running) -> None:
        crews = Api(service, "crews")
        for name in ("templates", "import", "__proto__", "x" * 10_000, "a\u202eb"):
            assert (await crews.create(crew(name))).status_code == 422, name


class TestAccess:
    async def test_every_route_wants_its_permission(self, service: Running) -> None:
        nobody = service.who("knowledge:read")
        answers = [
            await service.get("/v1/crews", who=nobody),
            await service.get("/v1/crews/answer-desk", who=nobody),
            await service.get("/v1/crew-runs", who=nobody),
            await service.post("/v1/crews", renamed("x"), who=service.who("crews:read")),
            await service.post("/internal/kickoff", {"crew": "answer-desk", "inputs": {}}, who=nobody, key="k"),
        ]
        assert [answer.status_code for answer in answers] == [403] * 5
        assert (await service.client.get("/v1/crews")).status_code == 401

    async def test_another_organization_sees_nothing(self, service: Running) -> None:
        stranger = service.who("*", organization=new_id("org"))
        assert (await service.get("/v1/crews", who=stranger)).json()["items"] == []
        assert (await service.get("/v1/crews/answer-desk", who=stranger)).status_code == 404
        body = {"crew": "answer-desk", "inputs": {"question": "?"}}
        assert (await service.post("/internal/kickoff", body, who=stranger, key="k")).status_code == 404


class TestStarters:
    async def test_a_new_organization_gets_them_once(self, service: Running) -> None:
        organization = new_id("org")
        event = organization_created(organization)
        for _ in range(3):
            await give_starter_crews(service.resources, event)
        await give_starter_crews(service.resources, organization_created(organization))
        listed = await service.get("/v1/crews", who=service.who("crews:read", organization=organization))
        assert [crew["name"] for crew in listed.json()["items"]] == ["answer-desk"]

    async def test_other_events_are_left_alone(self, service: Running) -> None:
        organization = new_id("org")
        event = organization_created(organization).model_copy(update={"type": "crewmesh.organization.renamed.v1"})
        await give_starter_crews(service.resources, event)
        listed = await service.get("/v1/crews", who=service.who("crews:read", organization=organization))
        assert listed.json()["items"] == []
