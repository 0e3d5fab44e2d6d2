"""Asking the embedded model through sidecars, and stopping it: the tokens really end."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import aiohttp
from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.invocations import (
    ASK_AGENT,
    ASK_MODEL,
    RUN_ACTION,
    STOP_THINKING,
    ActionRequest,
    AgentRequest,
    Invocation,
    ModelRequest,
    StopRequest,
)
from crewmesh_contracts.invocations.base import RequestT, ResultT
from crewmesh_kit.identity import Identity, TokenSigner
from crewmesh_kit.ids import new_id
from crewmesh_testkit.mesh import MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_testkit.receiver import Receiver

MODEL_PORT = 8090
# A story may be over before it is stopped, on a machine that was busy with something else.
_STORIES = 5


async def call(
    mesh: MeshProcess, invocation: Invocation[RequestT, ResultT], request: Contract, key: str
) -> tuple[int, JsonObject]:
    """As the workflow service does it."""
    secrets = json.loads(mesh.layout.secrets_file.read_text())
    who = Identity(mesh.organization, "test", frozenset({invocation.permission}))
    token = TokenSigner(secrets["identity-key-workflow"], app_id="workflow").sign(who, audience=invocation.app)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json", "idempotency-key": key}
    status, body = await mesh.invoke_through_sidecar(
        "workflow", invocation.app, "POST", invocation.path, body=request.model_dump_json().encode(), headers=headers
    )
    return status, json.loads(body)


async def is_at_work(mesh: MeshProcess) -> bool:
    url = f"http://127.0.0.1:{mesh.layout.port(MODEL_PORT)}/healthz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return (await answer.json())["running"] > 0


async def nobody_works(mesh: MeshProcess) -> bool:
    """Nothing that was started before can ask the model any more."""
    async with mesh.client() as client:
        running = (await client.read("/v1/runs?status=running&limit=1"))["items"]
    return not running and not await is_at_work(mesh)


def told_to_the_end(mesh: MeshProcess) -> int:
    """How many answers the model has written to their end."""
    return mesh.log("model").count('"event":"completed"')


async def stopped(mesh: MeshProcess) -> tuple[int, int, JsonObject]:
    """What had been told to the end before, and the answer of a call that was stopped while the model was at work."""
    request = ModelRequest(prompt="Tell a very long story about the sea.", max_tokens=1_700, temperature=1.0)
    answer: JsonObject = {}
    for _ in range(_STORIES):
        key, before = new_id("test"), told_to_the_end(mesh)
        asked = asyncio.create_task(call(mesh, ASK_MODEL, request, key))

        async def begun(asked: asyncio.Task[tuple[int, JsonObject]] = asked) -> bool:
            return asked.done() or await is_at_work(mesh)

        await until(begun, seconds=120, what="the model to be at work")
        status, answer = await call(mesh, STOP_THINKING, StopRequest(key=key), new_id("test"))
        assert status == 200, answer
        said = await asked
        if answer["stopped"]:
            return before, *said
    raise AssertionError(f"nothing could be stopped: {answer}")


async def test_a_label_and_an_agent_s_word(mesh: MeshProcess) -> None:
    request = ModelRequest(task="classify", prompt="Rain and wind all day.", labels=("weather", "sports"))
    key = new_id("test")
    status, answer = await call(mesh, ASK_MODEL, request, key)
    assert (status, answer["label"] in request.labels) == (200, True), answer
    assert (await call(mesh, ASK_MODEL, request, key))[1] == answer
    status, answer = await call(
        mesh, ASK_AGENT, AgentRequest(agent="writer", task="Say hello.", wait_seconds=60), new_id("test")
    )
    assert status == 200, answer
    assert cast(JsonObject, answer["result"])["text"], answer


async def test_a_stop_ends_the_model_s_work(mesh: MeshProcess) -> None:
    await until(lambda: nobody_works(mesh), seconds=180, every=0.2, what="nobody to be at work")
    before, status, answer = await stopped(mesh)
    assert (status, str(answer["type"]).rsplit("/")[-1]) == (409, "stopped")
    await until(lambda: nobody_works(mesh), seconds=60, what="the model to be idle again")
    assert told_to_the_end(mesh) == before, "the model went on with what nobody wants any more"


async def test_the_built_in_action(mesh: MeshProcess) -> None:
    async with Receiver() as receiver:
        action = ActionRequest(connection="webhook", action="webhook.send", inputs={"url": receiver.url("/hook")})
        key = new_id("test")
        for _ in range(2):
            status, answer = await call(mesh, RUN_ACTION, action, key)
            assert status == 200, answer
        assert receiver.counts_by_key() == {key: 1}
