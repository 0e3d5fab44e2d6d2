"""Webhooks through the service: who may call, what starts, what is answered, and once per delivery."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import cast

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import APP_API_TOKEN, OTHER_ORGANIZATION, identity
from crewmesh_workflow.hooks.service import Hooks
from crewmesh_workflow.runs.retention import forget
from standardwebhooks.webhooks import Webhook

from services.workflow.tests.conftest import Running

WRITER = identity("workflows:read", "workflows:write", "runs:read")
READER = identity("workflows:read")
STRANGER = identity("workflows:read", "workflows:write", organization=OTHER_ORGANIZATION)
ECHO: list[JsonValue] = [{"id": "echo", "kind": "transform", "output": {"got": "{{ trigger.data.body }}"}}]


async def save(service: Running, *, nodes: list[JsonValue] | None = None, **hook: JsonValue) -> str:
    """A workflow with one webhook; its id."""
    definition: JsonObject = {
        "name": "hooked",
        "triggers": [{"kind": "webhook", "id": "hook", **hook}],
        "nodes": nodes or ECHO,
        "output": {"got": "{{ trigger.data.body ?? null }}"},
    }
    answer = await service.post("/v1/workflows", WRITER, definition)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def hook_of(service: Running, workflow: str) -> JsonObject:
    (trigger,) = (await service.get(f"/v1/workflows/{workflow}/triggers", WRITER)).json()["items"]
    return trigger["webhook"]


def path(url: JsonValue) -> str:
    return "/v1/" + str(url).split("/v1/", 1)[1]


async def call(
    service: Running,
    url: JsonValue,
    proof: dict[str, str] | None = None,
    *,
    method: str = "POST",
    body: bytes = b"{}",
    **headers: str,
) -> httpx2.Response:
    """As the gateway passes a stranger's request on. Underscores in the names of headers stand for dashes."""
    sent = {"dapr-api-token": APP_API_TOKEN, "content-type": "application/json", **(proof or {})}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.request(method, path(url), content=body, headers=sent)


async def runs(service: Running) -> list[JsonObject]:
    return (await service.get("/v1/runs", WRITER)).json()["items"]


class TestOpenHook:
    async def test_what_came_is_what_the_run_sees(self, service: Running) -> None:
        hook = await hook_of(service, await save(service))
        proofs = {"webhook-signature": "v1,x", "x-hub-signature-256": "sha256=x", "x-hook-secret": "x"}
        url = f"{hook['url']}?a=1&a=2&b="
        answer = await call(service, url, proofs, method="PUT", body=b'{"n": 1}', x_sender="me", idempotency_key="k")
        assert answer.status_code == 202
        run = answer.json()["run"]
        assert answer.headers["location"] == f"/v1/runs/{run}"
        found = await service.until(run, "completed", WRITER)
        assert (found["origin"], found["output"]) == ("webhook", {"got": {"n": 1}})
        trigger = found["trigger"]
        assert isinstance(trigger, dict)
        assert (trigger["kind"], trigger["key"]) == ("webhook", "hook")
        data = trigger["data"]
        assert isinstance(data, dict)
        assert (data["method"], data["query"], data["body"]) == ("PUT", {"a": ["1", "2"], "b": ""}, {"n": 1})
        assert isinstance(data["headers"], dict)
        assert data["headers"]["x-sender"] == "me"
        assert not {"dapr-api-token", "idempotency-key", "host", *proofs} & set(data["headers"])

    async def test_headers_between_neighbours_are_not_the_senders(self, service: Running) -> None:
        hook = await hook_of(service, await save(service))
        names = ("forwarded", "x-forwarded-proto", "transfer-encoding", "te", "keep-alive", "proxy-connection")
        answer = await call(service, hook["url"], dict.fromkeys(names, "x"), x_sender="me")
        trigger = (await service.until(answer.json()["run"], "completed", WRITER))["trigger"]
        assert isinstance(trigger, dict)
        headers = cast("dict[str, dict[str, str]]", trigger["data"])["headers"]
        assert headers["x-sender"] == "me"
        assert not set(names) & set(headers)

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def test_every_method_starts_a_run(self, service: Running, method: str) -> None:
        hook = await hook_of(service, await save(service))
        assert (await call(service, hook["url"], method=method, body=b"")).status_code == 202

    async def test_the_same_delivery_fifty_times_is_one_run(self, service: Running) -> None:
        hook = await hook_of(service, await save(service))
        answers = await asyncio.gather(*(call(service, hook["url"], webhook_id="msg_1") for _ in range(50)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        assert len(await runs(service)) == 1
        await call(service, hook["url"], webhook_id="msg_2")
        await call(service, hook["url"])
        await call(service, hook["url"])
        assert len(await runs(service)) == 4

    async def test_bodies_that_cannot_be_read_are_refused(self, service: Running) -> None:
        hook = await hook_of(service, await save(service))
        malformed = await call(service, hook["url"], body=b"{")
        assert (malformed.status_code, malformed.json()["type"].rsplit("/", 1)[1]) == (400, "malformed-json")
        compressed = await call(service, hook["url"], content_encoding="gzip")
        assert compressed.status_code == 415
        large = await call(service, hook["url"], body=b" " * 10_000_000)
        assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
        assert await runs(service) == []

    async def test_what_the_database_cannot_hold_is_replaced(self, service: Running) -> None:
        hook = await hook_of(service, await save(service))
        answer = await call(service, hook["url"], body=b'"a\\u0000b"')
        found = await service.until(answer.json()["run"], "completed", WRITER)
        assert found["output"] == {"got": "a\ufffdb"}

    @pytest.mark.parametrize("token", ["x", "A" * 44, "%C3%A9", "test"])
    async def test_addresses_that_were_not_given_out(self, service: Running, token: str) -> None:
        for url in (f"/v1/hooks/{token}", f"/v1/hooks/test/{token}"):
            answer = await call(service, url)
            assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (404, "no-such-hook")


class TestAnswerWhenDone:
    async def test_with_the_output_of_the_run(self, service: Running) -> None:
        hook = await hook_of(service, await save(service, respond="when_done"))
        answer = await call(service, hook["url"], body=b"[1]", webhook_id="m")
        assert (answer.status_code, answer.json()) == (200, {"got": [1]})
        again = await call(service, hook["url"], body=b"[1]", webhook_id="m")
        assert (again.status_code, again.json()) == (200, {"got": [1]})
        assert again.headers["x-crewmesh-run"] == answer.headers["x-crewmesh-run"]

    async def test_with_what_the_workflow_responds(self, service: Running) -> None:
        respond: JsonObject = {
            "id": "say",
            "kind": "respond",
            "status": 418,
            "headers": {"Content-Type": "text/html", "Set-Cookie": "a=b", "X-Mine": "1", "Transfer-Encoding": "x"},
            "body": "<b>{{ trigger.data.body.name }}</b>",
        }
        hook = await hook_of(service, await save(service, respond="when_done", nodes=[respond]))
        answer = await call(service, hook["url"], body=b'{"name": "Ada"}')
        assert (answer.status_code, answer.text, answer.headers["x-mine"]) == (418, "<b>Ada</b>", "1")
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-security-policy"] == "sandbox"
        assert not {"set-cookie", "transfer-encoding"} & set(answer.headers)

    async def test_with_a_problem_when_the_run_fails(self, service: Running) -> None:
        fail: JsonObject = {"id": "stop", "kind": "fail", "message": "no luck"}
        hook = await hook_of(service, await save(service, respond="when_done", nodes=[fail]))
        answer = await call(service, hook["url"])
        assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (502, "run-failed")
        assert answer.json()["run"].startswith("run_")
        assert "no luck" not in answer.text, "strangers are not told what went wrong inside"

    async def test_with_the_run_when_it_takes_longer(self, service: Running) -> None:
        wait: JsonObject = {"id": "wait", "kind": "delay", "seconds": 3600}
        hook = await hook_of(service, await save(service, respond="when_done", wait_seconds=0.2, nodes=[wait]))
        answer = await call(service, hook["url"])
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/v1/runs/{answer.json()['run']}"


class TestProof:
    async def test_signed_as_standard_webhooks(self, service: Running) -> None:
        workflow = await save(service, auth="hmac")
        hook = await hook_of(service, workflow)

        def signed(secret: JsonValue, *, at: float, id_: str = "m") -> dict[str, str]:
            moment = datetime.fromtimestamp(int(at), UTC)
            signature = Webhook(str(secret)).sign(msg_id=id_, timestamp=moment, data="{}")
            return {"webhook-id": id_, "webhook-timestamp": str(int(at)), "webhook-signature": signature}

        now = time.time()
        assert (await call(service, hook["url"])).status_code == 401
        assert (await call(service, hook["url"], signed(hook["secret"], at=now))).status_code == 202
        assert (await call(service, hook["url"], signed(hook["secret"], at=now - 301))).status_code == 401
        # The same delivery again, and under another idempotency key: still the one run.
        again = await call(service, hook["url"], signed(hook["secret"], at=now), idempotency_key="other")
        assert (again.status_code, len(await runs(service))) == (202, 1)

        rotated = await service.post(f"/v1/workflows/{workflow}/triggers/hook/rotate", WRITER, {})
        assert rotated.status_code == 200, rotated.text
        new = rotated.json()
        assert (new["url"], new["secret"] != hook["secret"]) == (hook["url"], True)
        for number, secret in enumerate((hook["secret"], new["secret"])):
            answer = await call(service, hook["url"], signed(secret, at=now, id_=f"r{number}"))
            assert answer.status_code == 202, "for a day both hold"
        await set_rotated(service, "25 hours")
        answers = [
            await call(service, hook["url"], signed(secret, at=now, id_="late"))
            for secret in (hook["secret"], new["secret"])
        ]
        assert [answer.status_code for answer in answers] == [401, 202]

    async def test_as_github_signs(self, service: Running) -> None:
        hook = await hook_of(service, await save(service, auth="github"))
        signature = "sha256=" + hmac.new(str(hook["secret"]).encode(), b"{}", hashlib.sha256).hexdigest()
        good = await call(service, hook["url"], x_hub_signature_256=signature, x_github_delivery="d1")
        bad = await call(service, hook["url"], body=b"[]", x_hub_signature_256=signature)
        assert (good.status_code, bad.status_code) == (202, 401)
        assert bad.json()["type"].endswith("/hook-unauthenticated")

    @pytest.mark.parametrize(
        ("auth", "scheme"), [("basic", "Basic"), ("header", "Header"), ("hmac", "Signature"), ("github", "Signature")]
    )
    async def test_a_refusal_names_what_is_asked_for(self, service: Running, auth: str, scheme: str) -> None:
        hook = await hook_of(service, await save(service, auth=auth))
        refused = await call(service, hook["url"])
        assert (refused.status_code, refused.headers["www-authenticate"].split()[0]) == (401, scheme)

    async def test_basic_and_header(self, service: Running) -> None:
        hook = await hook_of(service, await save(service, auth="basic"))
        basic = base64.b64encode(f"{hook['user']}:{hook['secret']}".encode()).decode()
        assert (await call(service, hook["url"], crewmesh_authorization=f"Basic {basic}")).status_code == 202
        refused = await call(service, hook["url"], crewmesh_authorization="Basic eDp5")
        assert (refused.status_code, "Basic" in refused.headers["www-authenticate"]) == (401, True)
        hook = await hook_of(service, await save(service, auth="header"))
        answer = await call(service, hook["url"], x_hook_secret=str(hook["secret"]))
        assert answer.status_code == 202
        found = await service.get(f"/v1/runs/{answer.json()['run']}", WRITER)
        assert str(hook["secret"]) not in found.text


async def set_rotated(service: Running, ago: str) -> None:
    async with service.database.system() as conn:
        await conn.execute(
            "UPDATE triggers SET secret_rotated_at = now() - %s::interval WHERE secret_rotated_at IS NOT NULL", [ago]
        )
        rows = await (await conn.execute("SELECT id FROM triggers")).fetchall()
    for row in rows:
        service.app.state.resources.get(Hooks).forget(row["id"])


class TestListing:
    async def test_secrets_are_for_who_may_write(self, service: Running) -> None:
        workflow = await save(service, auth="hmac")
        assert str((await hook_of(service, workflow))["secret"]).startswith("whsec_")
        (seen,) = (await service.get(f"/v1/workflows/{workflow}/triggers", READER)).json()["items"]
        assert (seen["webhook"]["secret"], seen["webhook"]["auth"], seen["enabled"]) == (None, "hmac", True)
        refused = await service.post(f"/v1/workflows/{workflow}/triggers/hook/rotate", READER, {})
        assert refused.status_code == 403

    async def test_other_organizations_see_nothing(self, service: Running) -> None:
        workflow = await save(service, auth="hmac")
        assert (await service.get(f"/v1/workflows/{workflow}/triggers", STRANGER)).status_code == 404
        rotated = await service.post(f"/v1/workflows/{workflow}/triggers/hook/rotate", STRANGER, {})
        assert rotated.status_code == 404

    @pytest.mark.parametrize("part", ["secret", "url"])
    async def test_what_is_kept_of_a_rotation_calls_no_webhook(self, service: Running, part: str) -> None:
        """The same key is answered the same; who reads the database learns nothing by it."""
        workflow = await save(service, auth="hmac")
        rotate = f"/v1/workflows/{workflow}/triggers/hook/rotate"
        headers = {"idempotency-key": "once"}
        answers = [(await service.post(rotate, WRITER, {"part": part}, **headers)).json() for _ in range(2)]
        assert answers[0] == answers[1]
        async with service.database.system() as conn:
            kept = str(await (await conn.execute("SELECT body FROM idempotency WHERE key = 'once'")).fetchall())
        assert "generation" in kept
        assert answers[0]["secret"] not in kept
        assert answers[0]["url"].rsplit("/", 1)[-1] not in kept

    async def test_a_leaked_url_ends_at_once_when_it_is_replaced(self, service: Running) -> None:
        workflow = await save(service)
        before = await hook_of(service, workflow)
        await call(service, before["url"])
        headers = {"idempotency-key": "once"}
        rotate = f"/v1/workflows/{workflow}/triggers/hook/rotate"
        first = await service.post(rotate, WRITER, {"part": "url"}, **headers)
        again = await service.post(rotate, WRITER, {"part": "url"}, **headers)
        assert first.json() == again.json()
        assert (await call(service, before["url"])).status_code == 404
        assert (await call(service, first.json()["url"])).status_code == 202
        nothing = await service.post(rotate, WRITER, {"part": "secret"})
        assert (nothing.status_code, nothing.json()["type"].rsplit("/", 1)[1]) == (404, "nothing-to-rotate")

    async def test_the_last_run_and_the_next_times(self, service: Running) -> None:
        definition: JsonObject = {
            "name": "both",
            "triggers": [
                {"kind": "webhook", "id": "hook"},
                {"kind": "cron", "id": "clock", "expression": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"},
            ],
            "nodes": ECHO,
        }
        workflow = (await service.post("/v1/workflows", WRITER, definition)).json()["id"]
        run = (await call(service, (await listed(service, workflow))["hook"]["webhook"]["url"])).json()["run"]
        found = await listed(service, workflow)
        assert (found["hook"]["last_run"], found["clock"]["last_run"]) == (run, None)
        schedule = found["clock"]["schedule"]
        assert schedule["description"] == "At 09:00 on Monday through Friday"
        assert [time_[11:16] for time_ in schedule["next"]] == ["09:00"] * 5


async def listed(service: Running, workflow: str) -> dict[str, dict[str, dict[str, str]]]:
    items = (await service.get(f"/v1/workflows/{workflow}/triggers", WRITER)).json()["items"]
    return {item["key"]: item for item in items}


async def test_a_paused_workflow_starts_nothing(service: Running) -> None:
    workflow = await save(service)
    hook = await hook_of(service, workflow)
    async with service.database.system() as conn:
        await conn.execute("UPDATE triggers SET enabled = false")
    answer = await call(service, hook["url"])
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (409, "hook-paused")


async def test_a_delivery_whose_run_was_deleted_since(service: Running) -> None:
    hook = await hook_of(service, await save(service, respond="when_done", wait_seconds=50))
    first = await call(service, hook["url"], idempotency_key="k")
    assert first.status_code == 200
    run = first.headers["x-crewmesh-run"]
    async with service.database.system() as conn:
        await forget(conn, [run])
    async with asyncio.timeout(40):  # for there is nothing to wait for
        again = await call(service, hook["url"], idempotency_key="k")
    assert (again.status_code, again.json()["type"].rsplit("/", 1)[1]) == (409, "run-deleted")
    assert again.json()["run"] == run


async def test_the_test_url_runs_the_draft_and_reaches_nothing(service: Running) -> None:
    send: JsonObject = {"id": "send", "kind": "http", "url": "https://x.test", "sample": {"status": 299}}
    workflow = await save(service, respond="when_done", nodes=[send])
    hook = await hook_of(service, workflow)
    answer = await call(service, hook["test_url"])
    assert answer.status_code == 200, answer.text
    found = (await service.get(f"/v1/runs/{answer.headers['x-crewmesh-run']}", WRITER)).json()
    assert (found["test"], found["origin"]) == (True, "test")
    assert service.sidecar.calls == []


async def test_previews_of_schedules(service: Running) -> None:
    asked: JsonObject = {"expression": "30 2 * * *", "timezone": "Europe/Berlin"}
    answer = await service.post("/v1/schedules/preview", READER, asked)
    assert (answer.status_code, len(answer.json()["next"])) == (200, 5)
    assert answer.json()["description"] == "At 02:30 every day"
    bad = await service.post("/v1/schedules/preview", READER, {"expression": "every day"})
    assert (bad.status_code, bad.json()["type"].rsplit("/", 1)[1]) == (422, "bad-schedule")
    assert (await service.post("/v1/schedules/preview", identity(), asked)).status_code == 403
