"""Agents that are shared one by one: who sees and changes them, and who sets them to work, in whatever crew."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crewmesh_agent_crew.agents.errors import AmbiguousAgent, UnknownAgent
from crewmesh_agent_crew.crews.errors import CrewCannotWork
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_contracts.base import JsonValue
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id

from .harness import Running
from .records_api import Api, agent, crew, slug

WORKFLOW = "workflow:wf_" + "1" * 32
TELL: JsonValue = {"name": "tell", "description": "Tell it.", "expected_output": "Words."}
EVERYTHING = ("crews:read", "crews:write", "crews:run")


@pytest.fixture
def agents(service: Running) -> Api:
    return Api(service, "agents")


def person(service: Running, number: str, *permissions: str, role: str = "editor") -> Identity:
    return replace(service.who(*permissions), subject="usr_" + number * 32, groups=frozenset({f"role:{role}"}))


def run_of(service: Running, workflow: str) -> Identity:
    """As the engine signs for runs."""
    return replace(service.who("crews:run"), subject=new_id("run"), groups=frozenset({workflow}))


@pytest.mark.parametrize(
    ("level", "seen", "changed"), [(None, 404, 404), ("view", 200, 403), ("run", 200, 403), ("edit", 200, 200)]
)
async def test_a_level_is_what_one_may_do(agents: Api, level: str | None, seen: int, changed: int) -> None:
    """An editor on a restricted agent, and a guest whose role reaches nothing, are given the same."""
    await agents.made(agent("ann"))
    editor = person(agents.service, "1", *EVERYTHING)
    guest = person(agents.service, "2", role="role_x")
    grants = [] if level is None else [(f"user:{who.subject}", level) for who in (editor, guest)]
    await agents.share("ann", *grants)
    mine = agents.as_(editor)
    assert (await mine.get("ann")).status_code == seen
    assert (await mine.get("ann/versions")).status_code == seen
    assert (await mine.get("ann/export")).status_code == seen
    assert await mine.listed() == (["ann"] if seen == 200 else [])
    assert (await mine.put("ann", agent("ann", goal="New."))).status_code == changed
    assert (await mine.do("ann/rollback", {"version": 1})).status_code == changed
    theirs = agents.as_(guest)
    assert (await theirs.get("ann")).status_code == (200 if level else 403)
    assert (await theirs.put("ann", agent("ann"))).status_code == (200 if level == "edit" else 403)
    assert (await mine.delete("ann")).status_code == (204 if changed == 200 else changed)
    admin = agents.as_(person(agents.service, "3", *EVERYTHING, role="admin"))
    assert await admin.listed("archived=true" if changed == 200 else "") != []


async def test_a_hidden_agent_works_for_nobody_else_in_whatever_crew(agents: Api) -> None:
    service = agents.service
    crews, resolver = Api(service, "crews"), service.resources.get(Resolver)
    await agents.made(agent("ann"))
    tellers = crew("tellers", agents=[{"use": "ann"}], tasks=[TELL])
    await crews.made(tellers)
    editor, run = person(service, "1", *EVERYTHING), run_of(service, WORKFLOW)

    async def begins(who: Identity) -> None:
        async with service.database.tenant(service.organization) as connection:
            pinned = await resolver.pinned(connection, who, "tellers")
            alone = await resolver.agent(connection, who, "ann")
        assert pinned.definition.agents == (alone.definition,)
        assert (pinned.version, alone.version, alone.crew) == (1, 1, None)

    await begins(run)
    await agents.share("ann", (WORKFLOW, "run"))
    await begins(run)
    for other in (editor, run_of(service, "workflow:wf_" + "2" * 32)):
        with pytest.raises(CrewCannotWork, match=r"agents\.0\.use"):
            await begins(other)
        with pytest.raises(UnknownAgent):
            async with service.database.tenant(service.organization) as connection:
                await resolver.agent(connection, other, "ann")
    refused = await crews.as_(editor).create({**tellers, "name": "copy"})
    assert slug(refused) == (422, "invalid-definition")


async def test_an_agent_that_hidden_crews_need_is_not_archived_and_they_are_not_named(agents: Api) -> None:
    crews = Api(agents.service, "crews")
    await agents.made(agent("ann"))
    await crews.made(crew("tellers", agents=[{"use": "ann"}], tasks=[TELL]))
    await crews.share("tellers")
    refused = await agents.as_(person(agents.service, "1", *EVERYTHING)).delete("ann")
    assert slug(refused) == (409, "still-used")
    assert refused.json()["used_by"] == ["crews that you may not see"]


async def test_a_record_is_meant_before_an_agent_in_a_crew(agents: Api) -> None:
    """And one in a crew by its name, or by how its role reads."""
    service = agents.service
    resolver, who = service.resources.get(Resolver), service.who("*")
    crews = Api(service, "crews")

    async def called(name: str) -> tuple[str, str | None]:
        async with service.database.tenant(service.organization) as connection:
            found = await resolver.agent(connection, who, name)
        return found.definition.goal, found.id

    assert await called("a-writer") == ("answer the question from the notes", None)
    desk = (await crews.get("answer-desk")).json()["definition"]
    await crews.made({**desk, "name": "copy"})
    assert await called("writer") == ("answer the question from the notes", None)
    other = {**desk, "name": "other", "agents": [{**member, "goal": "Other."} for member in desk["agents"]]}
    await crews.made(other)
    with pytest.raises(AmbiguousAgent, match="answer-desk, copy, other"):
        await called("writer")
    record = await agents.made(agent("writer", goal="Mine."))
    assert await called("writer") == ("Mine.", record["id"])
    await agents.delete("writer")
    with pytest.raises(AmbiguousAgent):
        await called("writer")
    with pytest.raises(UnknownAgent):
        await called(str(record["id"]).replace("_", "-"))
