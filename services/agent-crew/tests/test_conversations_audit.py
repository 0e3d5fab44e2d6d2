"""Whatever people do to their conversations is told to the audit log; what they and agents say is not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import cast

import pytest
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_testkit.audit_trail import audit_line, audit_lines
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.scripted_model import ScriptedModel

from .chatting import person, with_agent
from .harness import MODEL_KEY, Running

CANARY = "canary-51d2c0"


@pytest.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    async with ScriptedModel(api_key=MODEL_KEY) as model:
        model.when(shown="Wait for it", then=" ".join(["soon"] * 500))
        yield model


async def test_every_change_of_a_conversation_leaves_its_line(service: Running, model: ScriptedModel) -> None:
    sidecar = cast(FakeSidecar, service.resources.get(Sidecar))
    await with_agent(service)
    ann = await person(service).begin(agent="assistant")
    exchange = await ann.say(f"Hello {CANARY}")
    again = await ann.ask("POST", f"{ann.path}/messages/{exchange['answer']['id']}/regenerate?wait=30", {})
    attached = await ann.attach("notes.txt", CANARY.encode())
    assert attached.headers["location"] == f"{ann.path}/attachments/{attached.json()['id']}"
    title = await ann.ask("PATCH", ann.path, {"title": f"About {CANARY}"}, if_match="*")
    model.words_per_second = 20
    await ann.say("Wait for it", wait=0)
    cancelled = await ann.ask("POST", f"{ann.path}/cancel?wait=30")
    deleted = await ann.ask("DELETE", ann.path, if_match="*")
    assert [each.status_code for each in (again, title, cancelled, deleted)] == [201, 200, 202, 204]

    told = ("created", "continued", "answered-again", "file-attached", "updated", "answer-cancelled", "deleted")
    for verb in told:
        line = await audit_line(sidecar, f"conversation.{verb}", ann.id)
        assert (line.organization, line.actor, line.outcome) == (service.organization, ann.who.subject, "done")
    assert not [line for line in audit_lines(sidecar) if CANARY in line.model_dump_json()]
