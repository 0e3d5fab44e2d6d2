"""Statuses at two replicas over a real Valkey: said in passing, seen everywhere, bounded, gone with their process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta

import pytest
from crewmesh_agent_crew.access import CREW
from crewmesh_agent_crew.live.streams import connected
from crewmesh_agent_crew.statuses.board import Board
from crewmesh_agent_crew.statuses.models import AtWork
from crewmesh_agent_crew.statuses.service import Statuses
from crewmesh_agent_crew.statuses.views import StatusViews
from crewmesh_contracts.events import AgentActivity, CloudEvent
from crewmesh_kit.ids import new_id
from crewmesh_kit.sharing.models import AccessRequest
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals
from crewmesh_testkit.polling import until

from .harness import Running


class Published:
    """Where events go."""

    def __init__(self) -> None:
        self.events: list[CloudEvent] = []

    async def publish_many(self, topic: str, events: Sequence[CloudEvent]) -> None:
        assert topic == "agents"
        self.events += events


class Replica:
    def __init__(self, statuses: Statuses, board: Board) -> None:
        self.statuses = statuses
        self.board = board
        self.telling = asyncio.create_task(statuses.keep_telling())

    async def seen(self, organization: str) -> dict[str, dict[str, AgentActivity]]:
        found = await self.statuses.at_work(organization)
        return {run.crew_run: {name: doing.status for name, doing in run.agents.items()} for run in found}


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def organization() -> str:
    return new_id("org")


@pytest.fixture
async def replicas(valkey: str, published: Published) -> AsyncGenerator[list[Replica]]:
    async with AsyncExitStack() as stack:
        replicas: list[Replica] = []
        for _ in range(2):
            board = Board(await stack.enter_async_context(connected(valkey)))
            signals = await stack.enter_async_context(Signals.open(valkey, app_id="agent-crew"))
            replicas.append(Replica(Statuses(board, signals, published), board))
        yield replicas
        for replica in replicas:
            replica.telling.cancel()


async def test_what_is_said_here_is_seen_there(replicas: list[Replica], organization: str) -> None:
    here, there = replicas
    here.statuses.now(organization, "writer", "crun_1", "thinking")
    here.statuses.now(organization, "editor", "crun_1", "calling_tool")
    assert await here.seen(organization) == {"crun_1": {"writer": "thinking", "editor": "calling_tool"}}

    async def seen_there() -> bool:
        return await there.seen(organization) == {"crun_1": {"writer": "thinking", "editor": "calling_tool"}}

    await until(seen_there, seconds=60, what="the statuses at the other replica")
    assert await there.seen(new_id("org")) == {}
    # It goes on there.
    there.statuses.now(organization, "writer", "crun_1", "idle")
    there.statuses.ended(organization, "crun_1")
    here.statuses.ended(organization, "crun_1")

    async def gone() -> bool:
        return not await there.seen(organization) and not await here.seen(organization)

    await until(gone, seconds=60, what="nobody at work")


async def test_changes_are_events_twice_a_second_at_most_and_the_last_one_counts(
    replicas: list[Replica], organization: str, published: Published
) -> None:
    activities: list[AgentActivity] = ["thinking", "calling_tool", "waiting"]
    began = asyncio.get_running_loop().time()
    replicas[0].statuses.now(organization, "writer", "crun_1", "waiting")
    await until(lambda: published.events, seconds=60, what="the first status")
    for number in range(300):
        replicas[0].statuses.now(organization, "writer", "crun_1", activities[number % 3])
        await asyncio.sleep(0.005)
    replicas[0].statuses.now(organization, "writer", "crun_1", "idle")

    async def told() -> bool:
        last = published.events[-1].data if published.events else None
        return isinstance(last, dict) and last["status"] == "idle"

    await until(told, seconds=60, what="the last status")
    seconds = asyncio.get_running_loop().time() - began
    assert 2 <= len(published.events) <= seconds * 2 + 2
    assert {event.type for event in published.events} == {"crewmesh.agent_status.changed.v1"}
    assert {event.crewmeshorg for event in published.events} == {organization}


async def test_what_a_dead_process_said_is_over(replicas: list[Replica], organization: str) -> None:
    long_ago = datetime.now(UTC) - timedelta(seconds=1)
    left = AtWork(crew_run="crun_dead", about=None, until=long_ago, agents={})
    await replicas[0].board.write([(organization, "crun_dead", left)])
    assert await replicas[1].seen(organization) == {}
    assert await replicas[1].board.read(organization) == []


class TestOverHttp:
    async def test_agents_at_work_are_listed(self, service: Running) -> None:
        statuses = service.resources.get(Statuses)
        statuses.now(service.organization, "writer", "crun_1", "waiting")
        statuses.now(service.organization, "writer", "crun_2", "thinking")
        listed = await service.get("/v1/agents/statuses")
        assert listed.status_code == 200, listed.text
        [writer] = listed.json()["items"]
        assert (writer["agent"], writer["status"]) == ("writer", "thinking")
        assert [each["status"] for each in writer["at_work_on"]] == ["waiting", "thinking"]
        stranger = service.who("crews:read", organization=new_id("org"))
        assert (await service.get("/v1/agents/statuses", who=stranger)).json()["items"] == []
        assert (await service.get("/v1/agents/statuses", who=service.who("runs:read"))).status_code == 403

    async def test_who_may_not_see_the_crew_does_not_see_it_work(self, service: Running) -> None:
        crew = (await service.get("/v1/crews/answer-desk")).json()["id"]
        statuses = service.resources.get(Statuses)
        statuses.now(service.organization, "writer", "crun_1", "thinking", about=f"crew:{crew}")
        assert len((await service.get("/v1/agents/statuses")).json()["items"]) == 1
        manager = service.who("access:manage")
        async with service.database.tenant(service.organization) as connection:
            await service.resources.get(Sharing).put(
                connection, manager, CREW, crew, AccessRequest(restricted=True), if_match="*", key=None
            )

        async def hidden() -> bool:
            return (await service.get("/v1/agents/statuses")).json()["items"] == []

        await until(hidden, seconds=60, what="a hidden crew")

    async def test_followers_see_everybody_and_then_each_change(self, service: Running) -> None:
        statuses, views = service.resources.get(Statuses), service.resources.get(StatusViews)
        statuses.now(service.organization, "writer", "crun_1", "thinking")
        async with asyncio.timeout(60), aclosing(views.follow(service.who("crews:read"))) as following:
            first = await anext(following)
            assert b'"agent":"writer","status":"thinking"' in first
            statuses.now(service.organization, "editor", "crun_1", "calling_tool")
            second = await anext(following)
            assert b'"agent":"editor","status":"calling_tool"' in second
            assert b"writer" not in second
            statuses.ended(service.organization, "crun_1")
            third = await anext(following)
            assert third.count(b'"status":"idle"') == 2
