"""What people put in place of an action's input or output is refused when they say it, and not later by the run."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEND_HTTP
from crewmesh_contracts.invocations.http import HttpReply, HttpSend
from crewmesh_kit.errors import RemoteProblem

from services.workflow.tests.approvals import ANN
from services.workflow.tests.conftest import Running
from services.workflow.tests.test_approvals_runs import UNKNOWN, Office

SEND: JsonObject = {"id": "send", "kind": "http", "url": "https://example.com", "effect": "unsafe"}
LOOP: JsonObject = {"id": "each", "kind": "for_each", "items": [1], "body": {"nodes": [SEND]}}
INPUT: JsonObject = {"method": "PUT", "url": "https://example.com/it"}


class Far:
    """The other side, which answers these first."""

    def __init__(self, service: Running, *answers: RemoteProblem) -> None:
        self._answers = [*answers]
        self.requests: list[HttpSend] = []
        service.sidecar.answer(SEND_HTTP, self._send)

    async def _send(self, request: HttpSend) -> HttpReply:
        self.requests.append(request)
        if self._answers:
            raise self._answers.pop(0)
        return HttpReply(status=200, headers={}, body=None)


async def refused(office: Office, question: JsonObject, body: JsonObject) -> list[str]:
    answer = await office.service.post(f"/v1/approvals/{question['id']}/decisions", ANN, body)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (422, "wrong-decision"), answer.text
    return [error["path"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("node", [SEND, LOOP], ids=["in the workflow", "in a loop"])
async def test_an_input_that_the_action_does_not_take(service: Running, node: JsonObject) -> None:
    office, far = Office(service), Far(service)
    run = await office.begin([node], settings={"mode": "human_in_the_loop"})
    question = await office.asked(run)
    wrong: JsonObject = {"url": 7, "headers": {"a": [1]}, "nonsense": True}
    places = await refused(office, question, {"approved": True, "data": wrong})
    assert places == ["data.url", "data.headers.a", "data.nonsense"]
    await office.decide(question, ANN, {"approved": True, "data": INPUT})
    await office.ended(run, "completed")
    assert [(request.method, request.url) for request in far.requests] == [("PUT", "https://example.com/it")]


async def test_an_output_that_the_action_does_not_give(service: Running) -> None:
    office, far = Office(service), Far(service, UNKNOWN)
    run = await office.begin([SEND])
    question = await office.asked(run)
    wrong: JsonObject = {"status": "200", "headers": [], "body": {}}
    assert await refused(office, question, {"happened": True, "output": wrong}) == ["output.status", "output.headers"]
    await office.decide(question, ANN, {"happened": True, "output": {"status": 200}})
    steps = await office.ended(run, "completed")
    assert steps["send"]["output"] == {"status": 200}
    assert len(far.requests) == 1
