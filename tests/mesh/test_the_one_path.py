"""The main job, whole: an event becomes a durable run that searches, thinks, decides, delivers and shows each step."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from uuid import uuid4

from crewmesh_testkit.collector import SpanCollector
from crewmesh_testkit.mesh import MeshClient, MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_testkit.receiver import Receiver

QUESTION = "What happens to a run when a process is killed?"
EVENT_TYPE = "com.example.question.asked"
STEPS = ["search", "answer", "wants-callback", "deliver"]


def question_event(**data: str) -> dict[str, object]:
    return {"specversion": "1.0", "id": uuid4().hex, "source": "/tests", "type": EVENT_TYPE, "data": data}


async def ask(client: MeshClient, **data: str) -> str:
    answer = await client.post("/v1/events", question_event(question=QUESTION, **data))
    assert answer.status == 202, answer.body
    (run,) = answer.body["runs"]
    return str(run)


async def test_an_event_becomes_an_answer_at_a_webhook(mesh: MeshProcess) -> None:
    async with Receiver() as receiver, mesh.client() as client:
        run = await ask(client, callback_url=receiver.url("/answers"))
        events = [event async for event in client.events(run)]
        detail = (await client.get(f"/v1/runs/{run}")).body
        steps = (await client.get(f"/v1/runs/{run}/steps")).body["items"]

    assert detail["status"] == "completed"
    assert detail["output"]["question"] == QUESTION
    assert detail["output"]["answer"].strip(), "the crew said nothing"
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[0].type == "run.started"
    assert events[-1].type == "run.completed"

    by_id = {step["node"]: step for step in steps}
    assert set(by_id) == set(STEPS)
    assert {step["status"] for step in steps} == {"completed"}
    assert any("kill" in hit["text"].lower() for hit in by_id["search"]["output"]["hits"])
    assert len({message["agent"] for message in by_id["answer"]["output"]["messages"]}) == 2
    assert by_id["answer"]["output"]["usage"]["completion_tokens"] > 0

    (delivery,) = receiver.requests
    assert json.loads(delivery.body) == {"question": QUESTION, "answer": detail["output"]["answer"]}
    assert delivery.headers["webhook-id"] == f"{run}/deliver"
    signed = f"{delivery.headers['webhook-id']}.{delivery.headers['webhook-timestamp']}.".encode() + delivery.body
    key = base64.b64decode(mesh.credentials.webhook_secret.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert expected in delivery.headers["webhook-signature"].split()


async def test_without_a_callback_the_delivery_is_skipped(mesh: MeshProcess) -> None:
    async with mesh.client() as client:
        run = await ask(client)
        kinds = {(event.type, event.data.get("node")) async for event in client.events(run)}
        detail = (await client.get(f"/v1/runs/{run}")).body
    assert ("step.skipped", "deliver") in kinds
    assert detail["status"] == "completed"


async def test_a_stream_resumes_where_it_was_left(mesh: MeshProcess) -> None:
    async with mesh.client() as client:
        run = await ask(client)
        whole = [event async for event in client.events(run)]
        rest = [event async for event in client.events(run, after=whole[1].id)]
    assert [event.id for event in rest] == [event.id for event in whole[2:]]


async def test_the_same_event_twice_is_one_run(mesh: MeshProcess) -> None:
    event = question_event(question=QUESTION)
    async with mesh.client() as client:
        first, second = await client.post("/v1/events", event), await client.post("/v1/events", event)
    assert first.body["runs"] == second.body["runs"]


async def test_a_producer_on_the_topic_starts_a_run_too(mesh: MeshProcess) -> None:
    """Any app of the mesh may publish a CloudEvent; the outcome is the same as through the API."""
    event = question_event(question=QUESTION) | {"crewmeshorg": mesh.organization}
    async with mesh.client() as client:
        await mesh.publish("events", event)
        run = await client.wait_for_run(event_id=str(event["id"]), seconds=180)
        kinds = [event.type async for event in client.events(run)]
    assert kinds[-1] == "run.completed"


async def test_one_trace_runs_from_the_request_to_the_effects(mesh: MeshProcess, collector: SpanCollector) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e" + uuid4().hex[:4]
    traced = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with Receiver() as receiver, mesh.client(headers=traced) as client:
        run = await ask(client, callback_url=receiver.url("/answers"))
        async for _ in client.events(run):
            pass
        assert (await client.get(f"/v1/runs/{run}")).body["trace_id"] == trace

    async def everybody_told() -> bool:
        # The engine's own span comes last: it covers the whole run.
        everybody = {"gateway", "workflow", "knowledge", "agent-crew", "integration"}
        return collector.services_of(trace) == everybody and ("workflow", "advance") in collector.spans_of(trace)

    await until(everybody_told, seconds=120, what=f"spans of every service in trace {trace}")
