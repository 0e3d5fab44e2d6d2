"""What is deleted is forgotten: by the knowledge service too, however often it has to be asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import cast

import pytest
from crewmesh_agent_crew.memory.forgetting import Forgetting
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent, OrganizationDeleted
from crewmesh_contracts.invocations import FORGET, ForgetRequest, ForgetResult
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.errors import Unavailable
from crewmesh_kit.ids import new_id
from crewmesh_kit.owned_data.forgetting import Forgetting as OwnedData
from crewmesh_kit.owned_data.forgetting import keep_policy
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers
from crewmesh_testkit.polling import until

from .chatting import Person, person, with_agent
from .harness import MODEL_KEY, Running
from .held_model import HeldModel
from .test_memory import Shelf, employ, work

MEMORY: JsonObject = {"short": True, "long": True}


class Forgetful(Shelf):
    """``away``: so often it cannot be reached first."""

    def __init__(self, sidecar: FakeSidecar) -> None:
        super().__init__(sidecar)
        self.away = 0
        self.asked: list[ForgetRequest] = []
        sidecar.answer(FORGET, self._forget)

    @property
    def texts(self) -> list[str]:
        return sorted(each.text for kept in self.kept.values() for each in kept)

    async def _forget(self, request: ForgetRequest) -> ForgetResult:
        self.asked.append(request)
        if self.away:
            self.away -= 1
            raise Unavailable("The knowledge service is being replaced.")
        before = len(self.texts)
        for namespace, kept in self.kept.items():
            if namespace == request.namespace or namespace.startswith(f"{request.namespace}:"):
                kept[:] = [each for each in kept if request.beginnings and not each.id.startswith(request.beginnings)]
        return ForgetResult(forgotten=before - len(self.texts))

    async def forgets_all_but(self, *texts: str) -> None:
        async def gone() -> bool:
            return self.texts == sorted(texts)

        await until(gone, seconds=60, what=f"nothing but {texts} remembered")


@pytest.fixture
async def model() -> AsyncGenerator[HeldModel]:
    async with HeldModel(api_key=MODEL_KEY) as model:
        yield model


@pytest.fixture
def shelf(service: Running) -> Forgetful:
    return Forgetful(cast(FakeSidecar, service.resources.get(Sidecar)))


async def delete(service: Running, path: str) -> None:
    who = auth_headers(service.who("*"), audience="agent-crew")
    gone = await service.client.delete(path, headers=who)
    assert gone.status_code == 204, gone.text


async def chat(service: Running, name: str, text: str, answer: str) -> Person:
    service.model.answers(answer)
    talk = await person(service, name).begin(agent="assistant", title="Talk")
    said = await talk.say(text)
    assert said["answer"]["text"] == answer
    return talk


async def waiting(service: Running) -> list[JsonObject]:
    async with service.database.tenant(service.organization) as connection:
        cursor = await connection.execute("SELECT about, run, times_left FROM memories_to_forget ORDER BY id")
        return [cast(JsonObject, row) for row in await cursor.fetchall()]


async def forget_now(service: Running) -> bool:
    """Whether nothing is left to be forgotten. It is due at once, also if the service itself has just asked for it."""
    async with service.database.tenant(service.organization) as connection:
        await connection.execute("UPDATE memories_to_forget SET due_at = now()")
    await service.resources.get(Forgetting).forget_due()
    return not await waiting(service)


async def test_a_conversation_goes_with_what_was_remembered_of_it(service: Running, shelf: Forgetful) -> None:
    await with_agent(service, memory=MEMORY)
    first = await chat(service, "a", "I am ill.", "Get well.")
    await chat(service, "a", "I am well.", "Good.")
    await chat(service, "b", "I am Bob.", "Hello.")
    assert (await first.ask("DELETE", first.path)).status_code == 204
    await shelf.forgets_all_but("I am well.\nGood.", "I am Bob.\nHello.")
    (asked,) = shelf.asked
    assert asked.namespace.startswith("agent:agt_")
    service.model.answers("Nothing.")
    again = await person(service, "a").begin(agent="assistant", title="Again")
    await again.say("What do you know?")
    assert "I am ill." not in service.model.requests[-1].prompt, "the notes of the last hours forget it as well"
    assert "I am well." in service.model.requests[-1].prompt


async def test_also_when_it_goes_because_of_its_age(service: Running, shelf: Forgetful) -> None:
    await with_agent(service, memory=MEMORY)
    talk = await chat(service, "a", "I am ill.", "Get well.")
    async with service.database.tenant(service.organization) as connection:
        await connection.execute(
            "UPDATE conversations SET active_at = now() - interval '9 days' WHERE id = %s", [talk.id]
        )
        await keep_policy(connection, service.organization, "conversations", 7)
    await service.resources.get(OwnedData).what_is_too_old()
    await shelf.forgets_all_but()
    async with service.database.tenant(service.organization) as connection:
        left = await (await connection.execute("SELECT id FROM crew_runs WHERE kind = 'chat'")).fetchall()
    assert left == [], "what was worked for it goes with it"


async def test_an_agent_goes_with_all_that_it_remembers(service: Running, shelf: Forgetful) -> None:
    await employ(service, memory=MEMORY)
    await with_agent(service, memory=MEMORY)
    service.model.answers("Seven.")
    await work(service, "How many?")
    await chat(service, "a", "I am ill.", "Get well.")
    await delete(service, "/v1/agents/clerk")
    await shelf.forgets_all_but("I am ill.\nGet well.")
    await delete(service, "/v1/agents/assistant")
    await shelf.forgets_all_but()


async def test_what_is_taken_out_of_the_archive_remembers_from_then_on(service: Running, shelf: Forgetful) -> None:
    clerk = await employ(service, memory=MEMORY)
    await delete(service, "/v1/agents/clerk")

    async def asked_once() -> bool:
        return [row["times_left"] for row in await waiting(service)] == [1]

    await until(asked_once, seconds=60, what="all to be forgotten a first time")
    restored = await service.post(f"/v1/agents/{clerk}/restore", {})
    assert restored.status_code == 200, restored.text
    service.model.answers("Seven.")
    await work(service, "How many?")
    assert await forget_now(service)
    assert shelf.texts == ["How many?\nSeven."]


async def test_a_crew_goes_with_all_that_it_remembers(service: Running, shelf: Forgetful) -> None:
    member: JsonObject = {"name": "clerk", "role": "A clerk", "goal": "answer", "memory": MEMORY}
    task: JsonObject = {"name": "one", "agent": "clerk", "description": "Do it.", "expected_output": "It."}
    made = await service.post("/v1/crews", {"name": "desk", "agents": [member], "tasks": [task]})
    assert made.status_code == 201, made.text
    service.model.answers("Done.")
    begun = await service.post("/v1/crews/desk/runs?wait=50", {})
    assert begun.json()["status"] == "completed", begun.text
    assert shelf.texts == ["Do it.\nDone."]
    await delete(service, "/v1/crews/desk")
    await shelf.forgets_all_but()


async def test_it_is_asked_for_until_it_is_answered_and_once_more(service: Running, shelf: Forgetful) -> None:
    await with_agent(service, memory=MEMORY)
    talk = await chat(service, "a", "I am ill.", "Get well.")
    shelf.away = 2
    assert (await talk.ask("DELETE", talk.path)).status_code == 204
    await until(lambda: forget_now(service), seconds=60, what="nothing left to forget")
    assert shelf.texts == []
    assert len(shelf.asked) >= 4


async def test_what_is_still_at_work_then_leaves_nothing_behind(
    service: Running, shelf: Forgetful, model: HeldModel
) -> None:
    await employ(service, memory=MEMORY)
    model.gate.clear()
    model.answers("Seven.")
    begun = await service.post("/v1/agents/clerk/runs", {"task": "How many?"})
    await until(lambda: model.requests, seconds=60, what="the agent at work")
    await delete(service, "/v1/agents/clerk")
    model.gate.set()

    async def ended() -> bool:
        run = await service.get(f"/v1/crew-runs/{begun.json()['id']}", who=service.who("*"))
        return run.json()["status"] == "completed"

    await until(ended, seconds=60, what="the work")
    assert shelf.texts == []


async def test_an_organization_goes_with_everything(service: Running, shelf: Forgetful) -> None:
    """The knowledge service hears of its end itself, and forgets its own."""
    await with_agent(service, memory=MEMORY)
    await chat(service, "a", "I am ill.", "Get well.")
    gone = OrganizationDeleted(organization=service.organization)
    event = CloudEvent(
        id=new_id("evt"), source="crewmesh/gateway", type=OrganizationDeleted.type(), data=gone.model_dump(mode="json")
    )
    await service.resources.get(OwnedData).on_organization_event(event)
    await until(lambda: forget_now(service), seconds=60, what="nothing left to forget")
