"""The whole way of a request: permission, once per key, signature, what comes back, what is on record."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

import pytest
from aiohttp import web
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.invocations import HttpReply
from crewmesh_testkit.identities import identity
from crewmesh_testkit.receiver import Receiver
from standardwebhooks import Webhook

from .running import RUN, SECRET, Integration, integration
from .sites import ok, outlasts, site, to


@pytest.fixture
async def service(database: str) -> AsyncGenerator[Integration]:
    async with integration(database, mesh_ports=[8083, 3503]) as running_service:
        yield running_service


async def test_a_webhook_arrives_signed(service: Integration) -> None:
    async with site({"/hook": ok}) as receiver:
        answer = await service.send(f"{RUN}/deliver/0", url=receiver.url("/hook"), body={"answer": "42 – ja"})
    assert answer.status_code == 200, answer.text
    said = HttpReply.model_validate(answer.json())
    assert (said.status, said.body) == (200, {"ok": True})
    assert said.headers["content-type"].startswith("application/json")
    method, _, headers, body = receiver.seen[0]
    assert method == "POST"
    assert headers["webhook-id"] == f"{RUN}/deliver/0"
    assert headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, dict(headers)) == {"answer": "42 – ja"}


class TestOnce:
    async def test_fifty_at_once_send_one(self, service: Integration) -> None:
        async with Receiver(delay=lambda: 0.1) as receiver:
            url = receiver.url("/hook")
            answers = await asyncio.gather(*(service.send("one key", url=url, body={"a": 1}) for _ in range(50)))
        assert [answer.status_code for answer in answers] == [200] * 50
        assert all(answer.json() == answers[0].json() for answer in answers)
        assert receiver.counts_by_key() == {"one key": 1}
        assert len(await service.deliveries()) == 1

    async def test_fifty_at_once_at_two_replicas_send_one(self, database: str) -> None:
        async with (
            integration(database) as one,
            integration(database) as other,
            Receiver(delay=lambda: 0.1) as receiver,
        ):
            answers = await asyncio.gather(
                *(
                    replica.send("one key", one.run(), url=receiver.url("/hook"))
                    for replica in (one, other)
                    for _ in range(25)
                )
            )
        assert Counter(answer.status_code for answer in answers) == {200: 50}
        assert all(answer.json() == answers[0].json() for answer in answers)
        assert receiver.counts_by_key() == {"one key": 1}

    async def test_fifty_keys_at_once_send_fifty(self, service: Integration) -> None:
        async with Receiver() as receiver:
            keys = [f"key {number}" for number in range(50)]
            await asyncio.gather(*(service.send(key, url=receiver.url("/hook")) for key in keys * 2))
        assert receiver.counts_by_key() == dict.fromkeys(keys, 1)

    async def test_a_repetition_gets_the_recorded_reply(self, service: Integration) -> None:
        async with site({"/hook": ok}) as receiver:
            first = await service.send("key", url=receiver.url("/hook"))
            url = receiver.url("/hook")
        again = await service.send("key", url=url)
        assert again.json() == first.json()
        assert len(receiver.seen) == 1

    async def test_the_key_belongs_to_the_organization(self, service: Integration) -> None:
        async with site({"/hook": ok}) as receiver:
            await service.send("key", url=receiver.url("/hook"))
            await service.send("key", service.stranger(), url=receiver.url("/hook"))
        assert len(receiver.seen) == 2

    async def test_another_request_under_the_key_is_refused(self, service: Integration) -> None:
        async with site({"/hook": ok}) as receiver:
            await service.send("key", url=receiver.url("/hook"))
            answer = await service.send("key", url=receiver.url("/hook"), body=1)
        assert (answer.status_code, answer.json()["type"].rsplit("/")[-1]) == (422, "idempotency-key-reused")
        assert len(receiver.seen) == 1

    async def test_a_refusal_is_repeated_without_sending(self, service: Integration) -> None:
        async def gone(_: web.Request) -> web.Response:
            return web.Response(status=410, text="we have moved")

        async with site({"/hook": gone}) as receiver:
            answers = [await service.send("key", url=receiver.url("/hook")) for _ in range(2)]
        for answer in answers:
            problem = answer.json()
            assert answer.status_code == 424
            assert problem["type"].endswith("/upstream-refused")
            assert problem["retryable"] is False
            assert problem["upstream_status"] == 410
            assert "410: we have moved" in problem["detail"]
        assert len(receiver.seen) == 1

    async def test_a_passing_failure_is_sent_again_under_the_same_id(self, service: Integration) -> None:
        async def recovering(_: web.Request) -> web.Response:
            if len(receiver.seen) == 1:
                return web.Response(status=503, headers={"Retry-After": "7"})
            return web.Response(status=204)

        async with site({"/hook": recovering}) as receiver:
            first = await service.send("key", url=receiver.url("/hook"))
            second = await service.send("key", url=receiver.url("/hook"))
        assert first.status_code == 502
        assert first.headers["retry-after"] == "7"
        assert {name: first.json()[name] for name in ("retryable", "upstream_status", "retry_after")} == {
            "retryable": True,
            "upstream_status": 503,
            "retry_after": 7,
        }
        assert second.json()["status"] == 204
        assert [headers["webhook-id"] for _, _, headers, _ in receiver.seen] == ["key", "key"]
        assert [record["outcome"] for record in await service.deliveries()] == ["answered", "unavailable"]


class TestRefusals:
    async def test_inner_places(self, service: Integration) -> None:
        urls = (
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://[::ffff:169.254.169.254]/",
            "http://0.0.0.0/",
            "http://localhost:3503/v1.0/metadata",
            "http://127.0.0.1:8083/healthz",
            "http://[::1]:3503/",
            "http://db.internal/",
        )
        for url in urls:
            answer = await service.send(url, url=url)
            assert answer.status_code == 403, url
            assert answer.json()["type"].endswith("/destination-refused")
            assert answer.json()["retryable"] is False
        assert [record["outcome"] for record in await service.deliveries()] == ["blocked"] * len(urls)

    async def test_loopback_is_closed_by_default(self, database: str) -> None:
        async with integration(database, allow_loopback=False) as service, site({"/": ok}) as here:
            for host in ("127.0.0.1", "localhost", "[::1]"):
                assert (await service.send(host, url=here.url("/", host))).status_code == 403
        assert here.seen == []

    async def test_a_redirect_to_the_metadata_service(self, service: Integration) -> None:
        async with site({"/": to("http://169.254.169.254/latest/meta-data/", 302)}) as receiver:
            answer = await service.send("key", url=receiver.url("/"))
        assert answer.json()["type"].endswith("/destination-refused")

    async def test_misshapen_requests(self, service: Integration) -> None:
        wrong: list[tuple[dict[str, JsonValue], str]] = [
            ({"url": "file:///etc/passwd"}, "url"),
            ({"url": "gopher://127.0.0.1:6379/_FLUSHALL"}, "url"),
            ({"url": "http://2130706433/"}, "url"),
            ({"url": "http://0x7f000001/"}, "url"),
            ({"url": "http://017700000001/"}, "url"),
            ({"url": "http://user:password@example.com/"}, "url"),
            ({"url": "https://example.com/", "headers": {"Host": "other.example"}}, "headers.Host"),
            ({"url": "https://example.com/", "headers": {"webhook-id": "mine"}}, "headers.webhook-id"),
            ({"url": "https://example.com/", "headers": {"X-A": "a\r\nX-B: b"}}, "headers"),
            ({"url": "https://example.com/", "headers": []}, "headers"),
            ({"url": {}}, "url"),
            ({"url": "https://example.com/", "method": "CONNECT"}, "method"),
            ({"url": "https://example.com/", "timeout_seconds": 0}, "timeout_seconds"),
            ({"url": "https://example.com/", "timeout_seconds": 1e9}, "timeout_seconds"),
            ({"url": "https://example.com/", "follow": True}, "follow"),
            ({}, "url"),
        ]
        for request, path in wrong:
            answer = await service.send("key", None, **request)
            assert answer.status_code == 422, (request, answer.text)
            assert any(error["path"].startswith(f"body.{path}") for error in answer.json()["errors"]), answer.text
        assert await service.deliveries() == []

    async def test_without_a_key(self, service: Integration) -> None:
        answer = await service.send(None, url="https://example.com/")
        assert answer.status_code == 400
        assert "Idempotency-Key" in answer.json()["detail"]

    async def test_without_the_permission(self, service: Integration) -> None:
        answer = await service.send("key", identity("deliveries:read"), url="https://example.com/")
        assert answer.status_code == 403
        assert "http:send" in answer.json()["detail"]

    async def test_without_an_identity(self, service: Integration) -> None:
        assert (
            await service.http.post("/internal/http-requests", json={"url": "https://example.com/"})
        ).status_code == 401


async def test_a_hanging_receiver_is_a_maybe(service: Integration) -> None:
    async with site({"/": outlasts}) as receiver:
        answer = await service.send("key", url=receiver.url("/"), timeout_seconds=60)
    problem = answer.json()
    assert answer.status_code == 504
    assert (problem["retryable"], problem["sent"]) == (True, True)
    assert "webhook-id" in problem["detail"]
    (record,) = await service.deliveries()
    assert record["outcome"] == "unavailable"
    assert record["status"] is None


async def test_a_caller_that_leaves_does_not_stop_what_was_begun(service: Integration) -> None:
    release = asyncio.Event()
    arrived = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        arrived.set()
        await release.wait()
        return web.Response(status=204)

    async with site({"/": slow}) as receiver:
        caller = asyncio.create_task(service.send("key", url=receiver.url("/")))
        async with asyncio.timeout(60):
            await arrived.wait()
        caller.cancel()
        await asyncio.wait([caller])
        joined = asyncio.create_task(service.send("key", url=receiver.url("/")))
        release.set()
        assert (await joined).json()["status"] == 204
    assert len(receiver.seen) == 1
