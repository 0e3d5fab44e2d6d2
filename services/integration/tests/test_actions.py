"""Actions: the one connection that is always there, and clear words about those that are not."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2
import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.invocations import RUN_ACTION, ActionResult
from crewmesh_kit.identity import Identity
from crewmesh_testkit.identities import auth_headers, identity
from crewmesh_testkit.receiver import Receiver
from standardwebhooks import Webhook

from .running import SECRET, Integration, integration


@pytest.fixture
async def service(database: str) -> AsyncGenerator[Integration]:
    async with integration(database) as running_service:
        yield running_service


async def run(
    service: Integration,
    inputs: JsonValue,
    *,
    key: str | None = "key",
    who: Identity | None = None,
    connection: str = "webhook",
    action: str = "webhook.send",
) -> httpx2.Response:
    body = {"connection": connection, "action": action, "inputs": inputs}
    may = who or identity(RUN_ACTION.permission, "deliveries:read", organization=service.organization)
    headers = auth_headers(may, audience="integration") | ({} if key is None else {"Idempotency-Key": key})
    return await service.http.post(RUN_ACTION.path, json=body, headers=headers)


async def test_a_webhook_is_sent_once_per_key_signed_and_on_record(service: Integration) -> None:
    async with Receiver() as receiver:
        answers = [await run(service, {"url": receiver.url("/hook"), "body": {"n": 1}}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    result = ActionResult.model_validate(answers[0].json()).result
    assert isinstance(result, dict)
    assert (result["status"], result["body"]) == (200, {"ok": True})
    (received,) = receiver.requests
    assert received.key == "key"
    assert Webhook(SECRET).verify(received.body, dict(received.headers)) == {"n": 1}
    (record,) = await service.deliveries()
    assert (record["outcome"], record["method"]) == ("answered", "POST")


async def test_inner_places_are_refused(service: Integration) -> None:
    answer = await run(service, {"url": "http://169.254.169.254/"})
    assert answer.json()["type"].endswith("/destination-refused")


@pytest.mark.parametrize(
    ("inputs", "place"),
    [
        ({}, "body.inputs.url"),
        ({"url": 5}, "body.inputs.url"),
        ({"url": "file:///etc/passwd"}, "body.inputs.url"),
        ({"url": "https://example.com/", "method": "GET"}, "body.inputs.method"),
        ("text", "body.inputs"),
    ],
)
async def test_inputs_that_do_not_fit(service: Integration, inputs: JsonValue, place: str) -> None:
    answer = await run(service, inputs)
    assert answer.status_code == 422, answer.text
    assert [error["path"] for error in answer.json()["errors"]] == [place]
    assert await service.deliveries() == []


@pytest.mark.parametrize(
    ("connection", "action", "slug", "hint"),
    [
        ("github", "github.create_issue", "unknown-connection", "cannot be set up yet"),
        ("webhook", "webhook.receive", "unknown-action", "it has: webhook.send"),
    ],
)
async def test_what_there_is_not(service: Integration, connection: str, action: str, slug: str, hint: str) -> None:
    answer = await run(service, {}, connection=connection, action=action)
    problem = answer.json()
    assert (answer.status_code, problem["type"].rsplit("/")[-1], problem["retryable"]) == (404, slug, False)
    assert hint in problem["detail"]


async def test_a_key_and_the_permission_are_needed(service: Integration) -> None:
    assert (await run(service, {}, key=None)).status_code == 400
    answer = await run(service, {}, who=identity("http:send"))
    assert answer.status_code == 403
    assert "actions:run" in answer.json()["detail"]
