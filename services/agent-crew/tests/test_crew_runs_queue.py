"""How many crew runs of an organization may wait to be begun: who is too much is told so, and when to come back."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2
import pytest
from crewmesh_agent_crew.settings import CrewRunSettings
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import ASK_AGENT
from crewmesh_kit.ids import new_id

from .chatting import person, with_agent
from .harness import MODEL_KEY, Running, until
from .held_model import HeldModel
from .test_crew_runs_driving import ended
from .test_memory import employ

TASK: JsonObject = {"task": "How many?"}


@pytest.fixture
def crew_run_settings() -> CrewRunSettings:
    """One at a time, and two that wait."""
    return CrewRunSettings(most_working=1, share=1, most_queued=2)


@pytest.fixture
async def model() -> AsyncGenerator[HeldModel]:
    async with HeldModel(api_key=MODEL_KEY) as model:
        yield model


async def full(service: Running, model: HeldModel) -> list[str]:
    """One run at work, for as long as the model is held, and two behind it."""
    await employ(service)
    model.gate.clear()
    first = await begin(service)
    await until(lambda: len(model.requests) == 1)
    return [each.json()["id"] for each in (first, await begin(service), await begin(service))]


async def begin(service: Running) -> httpx2.Response:
    return await service.post("/v1/agents/clerk/runs", TASK)


def check_refused(answer: httpx2.Response) -> None:
    assert answer.status_code == 429, answer.text
    assert answer.json()["type"].endswith("/crew-queue-full")
    assert answer.json()["retryable"] is True
    assert int(answer.headers["retry-after"]) > 0
    assert "status=queued" in answer.json()["detail"]


async def test_the_one_too_many_is_refused_and_leaves_nothing(service: Running, model: HeldModel) -> None:
    runs = await full(service, model)
    key = new_id("test")
    check_refused(await service.post("/v1/agents/clerk/runs", TASK, key=key))
    listed = (await service.get("/v1/crew-runs")).json()["items"]
    assert sorted(run["id"] for run in listed) == sorted(runs)
    gone = await service.post(f"/v1/crew-runs/{runs[2]}/cancel", {})
    assert gone.status_code == 202
    model.gate.set()
    for run in runs[1:]:
        await ended(service, run)
    again = await service.post("/v1/agents/clerk/runs", TASK, key=key)
    assert again.status_code == 201, "the same request under the same key is welcome when there is room"


async def test_steps_of_workflows_are_told_the_same_and_known_ones_are_joined(
    service: Running, model: HeldModel
) -> None:
    await employ(service)
    model.gate.clear()
    await begin(service)
    await until(lambda: len(model.requests) == 1)
    request: JsonObject = {"agent": "clerk", "task": "How many?", "wait_seconds": 0}
    keys = [new_id("test") for _ in range(3)]
    answers = [await service.post(ASK_AGENT.path, request, key=key) for key in keys]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    check_refused(answers[2])
    assert (await service.post(ASK_AGENT.path, request, key=keys[0])).status_code == 200
    model.gate.set()


async def test_a_message_in_a_chat_is_refused_whole(service: Running, model: HeldModel) -> None:
    await with_agent(service)
    ann = await person(service, "a").begin(agent="assistant", title="Talk")
    await full(service, model)
    check_refused(await ann.ask("POST", f"{ann.path}/messages", {"text": "Hi"}))
    assert await ann.messages() == []
    model.gate.set()


async def test_other_organizations_have_their_own(service: Running, model: HeldModel) -> None:
    await full(service, model)
    other = service.who("*", organization=new_id("org"))
    made = await service.post("/v1/agents", {"name": "clerk", "role": "A clerk", "goal": "answer"}, who=other)
    assert made.status_code == 201, made.text
    assert (await service.post("/v1/agents/clerk/runs", TASK, who=other)).status_code == 201
    model.gate.set()
