"""Webhooks from outside, through the gateway and two real sidecars: what is signed arrives as it was sent."""

from __future__ import annotations

import time
from base64 import b64encode
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import pytest
from crewmesh_testkit.mesh import MeshProcess
from standardwebhooks.webhooks import Webhook


async def hook(mesh: MeshProcess, auth: str, respond: str = "when_done") -> dict[str, str]:
    """A workflow that echoes what it is sent; its webhook, with the whole address."""
    definition: dict[str, object] = {
        "name": f"Echo {uuid4().hex[:8]}",
        "triggers": [{"kind": "webhook", "id": "hook", "auth": auth, "respond": respond}],
        "nodes": [{"id": "echo", "kind": "transform", "output": {"body": "{{ trigger.data.body }}"}}],
        "output": {
            "body": "{{ steps.echo.output.body }}",
            "method": "{{ trigger.data.method }}",
            "query": "{{ trigger.data.query }}",
        },
    }
    return await webhook_of(mesh, definition)


async def webhook_of(mesh: MeshProcess, definition: dict[str, object]) -> dict[str, str]:
    async with mesh.client() as client:
        made = await client.post("/v1/workflows", definition)
        assert made.status == 201, made.body
        (trigger,) = (await client.get(f"/v1/workflows/{made.body['id']}/triggers")).body["items"]
    found: dict[str, str] = trigger["webhook"]
    return {**found, "url": mesh.credentials.api_url + urlsplit(found["url"]).path}


async def send(
    url: str, *, method: str = "POST", body: bytes = b"", **headers: str
) -> tuple[int, dict[str, object], str]:
    """Status, document and run."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.request(method, url, data=body, headers=named) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers.get("x-crewmesh-run", "")


async def test_a_signature_survives_the_way(mesh: MeshProcess) -> None:
    to = await hook(mesh, "hmac")
    body = '{ "name" :"Zoë",\n\t"sum": 1.50 }'.encode()

    def signed(secret: str, id_: str) -> dict[str, str]:
        now = time.time()
        signature = Webhook(secret).sign(
            msg_id=id_, timestamp=datetime.fromtimestamp(int(now), UTC), data=body.decode()
        )
        return {"webhook_id": id_, "webhook_timestamp": str(int(now)), "webhook_signature": signature}

    first = await send(to["url"], body=body, content_type="application/json", **signed(to["secret"], "m1"))
    again = await send(to["url"], body=body, content_type="application/json", **signed(to["secret"], "m1"))
    assert first[:2] == (200, {"body": {"name": "Zoë", "sum": 1.5}, "method": "POST", "query": {}})
    assert first == again
    wrong = await send(to["url"], body=body + b" ", content_type="application/json", **signed(to["secret"], "m2"))
    assert wrong[0] == 401


async def test_basic_authentication_passes_and_chooses_no_callee(mesh: MeshProcess) -> None:
    to = await hook(mesh, "basic")

    def basic(user: str, password: str) -> str:
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    good = await send(to["url"], body=b"a=1&a=2", authorization=basic(to["user"], to["secret"]),
                      content_type="application/x-www-form-urlencoded")  # fmt: skip
    assert good[:2] == (200, {"body": {"a": ["1", "2"]}, "method": "POST", "query": {}})
    status, problem, _ = await send(to["url"], authorization=basic("dapr-app-id", "integration"))
    assert (status, str(problem["type"]).rsplit("/", 1)[1]) == (401, "hook-unauthenticated")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_every_method_and_its_query_arrive(mesh: MeshProcess, method: str) -> None:
    to = await hook(mesh, "none")
    sent = [await send(f"{to['url']}?a=b%20c&d=%2F", method=method) for _ in range(2)]
    expected = {"body": None, "method": method, "query": {"a": "b c", "d": "/"}}
    assert [each[:2] for each in sent] == [(200, expected)] * 2
    assert len({run for _, _, run in sent}) == 2, "two requests without an id are two occurrences"


@pytest.mark.parametrize("status", [400, 503])
async def test_an_error_that_the_workflow_answers_arrives_as_it_is(mesh: MeshProcess, status: int) -> None:
    definition: dict[str, object] = {
        "name": f"Refuse {uuid4().hex[:8]}",
        "triggers": [{"kind": "webhook", "id": "hook", "auth": "none", "respond": "when_done"}],
        "nodes": [{"id": "no", "kind": "respond", "status": status, "body": {"error": "bad"}}],
    }
    to = await webhook_of(mesh, definition)
    assert (await send(to["url"]))[:2] == (status, {"error": "bad"})


async def test_an_address_that_was_made_up_is_a_problem(mesh: MeshProcess) -> None:
    status, problem, _ = await send(f"{mesh.credentials.api_url}/v1/hooks/{'A' * 44}", body=b"{}")
    assert (status, str(problem["type"]).rsplit("/", 1)[1]) == (404, "no-such-hook")
