"""Requests that must not be sent twice: sent again only when it is certain that nothing happened."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

import httpx2
import pytest
from aiohttp import web
from crewmesh_kit.db.database import Database

from .running import Integration, integration
from .sites import Handler, Site, ok, outlasts, site, to


@pytest.fixture
async def service(database: str) -> AsyncGenerator[Integration]:
    async with integration(database) as running_service:
        yield running_service


async def send(service: Integration, url: str, key: str = "key", seconds: float = 15.0) -> httpx2.Response:
    return await service.send(key, url=url, repeatable=False, timeout_seconds=seconds)


def assert_unknown(answer: httpx2.Response) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["type"].rsplit("/")[-1]) == (409, "outcome-unknown"), problem
    assert problem["retryable"] is False
    assert "new Idempotency-Key" in problem["detail"]
    assert "webhook-id" not in problem["detail"]


def answers(status: int) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    return answer


async def hangs(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def breaks(asked: web.Request) -> web.Response:
    assert asked.transport is not None
    asked.transport.close()
    return web.Response()


class TestUnknown:
    @pytest.mark.parametrize("handler", [outlasts, breaks, answers(500), answers(502), answers(504)])
    async def test_what_may_have_happened_is_not_sent_again(self, service: Integration, handler: Handler) -> None:
        async with site({"/": handler}) as receiver:
            for _ in range(2):
                assert_unknown(await send(service, receiver.url("/"), seconds=60))
        assert len(receiver.seen) == 1
        (record,) = await service.deliveries("?outcome=unknown")
        assert record["idempotency_key"] == "key"

    @pytest.mark.parametrize(
        "location", ["http://169.254.169.254/", "ftp://example.com/", "/gone", "/busy", "http://127.0.0.1:1/"]
    )
    async def test_who_redirects_may_have_acted(self, service: Integration, location: str) -> None:
        routes = {"/": to(location, 303), "/gone": answers(404), "/busy": answers(503)}
        async with site(routes) as receiver:
            assert_unknown(await send(service, receiver.url("/")))
            assert_unknown(await send(service, receiver.url("/")))
        assert [path for _, path, _, _ in receiver.seen].count("/") == 1

    async def test_a_repeatable_one_is_sent_again_as_ever(self, service: Integration) -> None:
        async with site({"/": answers(500)}) as receiver:
            for _ in range(2):
                answer = await service.send("key", url=receiver.url("/"))
                assert answer.json()["type"].endswith("/upstream-unavailable")
        assert len(receiver.seen) == 2


class TestCertain:
    async def test_an_answer_is_an_answer(self, service: Integration) -> None:
        async with site({"/": ok}) as receiver:
            said = [await send(service, receiver.url("/")) for _ in range(2)]
        assert said[0].json() == said[1].json()
        assert said[0].json()["status"] == 200
        assert len(receiver.seen) == 1

    async def test_a_refusal_is_a_refusal(self, service: Integration) -> None:
        async with site({"/": answers(422)}) as receiver:
            for _ in range(2):
                answer = await send(service, receiver.url("/"))
                assert (answer.status_code, answer.json()["type"].rsplit("/")[-1]) == (424, "upstream-refused")
        assert len(receiver.seen) == 1

    @pytest.mark.parametrize("status", [408, 425, 429, 503])
    async def test_what_was_not_taken_may_be_sent_again(self, service: Integration, status: int) -> None:
        async with site({"/": answers(status)}) as receiver:
            for _ in range(2):
                answer = await send(service, receiver.url("/"))
                assert (answer.status_code, answer.json()["retryable"]) == (502, True)
        assert len(receiver.seen) == 2

    async def test_what_never_left_may_be_sent_again(
        self, service: Integration, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(host: str, port: int) -> list[str]:
            raise socket.gaierror(f"{host} is unknown")

        monkeypatch.setattr("crewmesh_kit.outbound.connector._getaddrinfo", unknown)
        with socket.socket() as taken:  # where nobody listens
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
            for unreachable in (url, "http://nobody.invalid/"):
                answer = await send(service, unreachable, key=unreachable)
                assert answer.json()["type"].endswith("/upstream-unreachable"), answer.text
                assert (answer.json()["retryable"], answer.json()["sent"]) == (True, False)

    async def test_an_inner_place_is_refused_as_ever(self, service: Integration) -> None:
        answer = await send(service, "http://169.254.169.254/")
        assert answer.json()["type"].endswith("/destination-refused")


class TestAfterACrash:
    """The process that sent is gone before the answer was kept: what is left are its claim and its record."""

    @pytest.mark.parametrize(
        ("left_behind", "known_status"),
        [("outcome = 'sending', status = NULL", None), ("outcome = 'answered', status = 200", 200)],
    )
    async def test_nobody_knows(
        self, service: Integration, database: str, left_behind: str, known_status: int | None
    ) -> None:
        async with site({"/": ok}) as receiver:
            await send(service, receiver.url("/"))
            await self._crash(service, database, left_behind)
            (record,) = await service.deliveries()
            for _ in range(2):
                answer = await send(service, receiver.url("/"))
                assert_unknown(answer)
                assert answer.json()["upstream_status"] == known_status
                assert answer.json()["delivery"] == record["id"]
        assert len(receiver.seen) == 1

    async def test_after_a_failure_that_had_no_effect_it_is_sent(self, service: Integration, database: str) -> None:
        async with site({"/": ok}) as receiver:
            await send(service, receiver.url("/"))
            await self._crash(service, database, "outcome = 'unavailable', status = 503")
            assert (await send(service, receiver.url("/"))).status_code == 200
        assert len(receiver.seen) == 2

    async def test_another_key_is_another_request(self, service: Integration, database: str) -> None:
        async with site({"/": ok}) as receiver:
            await send(service, receiver.url("/"))
            await self._crash(service, database, "outcome = 'sending', status = NULL")
            assert (await send(service, receiver.url("/"), key="key 2")).status_code == 200
        assert len(receiver.seen) == 2

    async def _crash(self, service: Integration, database: str, left_behind: str) -> None:
        async with (
            Database.open(database, app_id="integration") as opened,
            opened.tenant(service.organization) as connection,
        ):
            await connection.execute(
                "UPDATE idempotency SET state = 'running', body = NULL, holder = 'gone',"
                " lease_until = now() - interval '1 second'"
            )
            await connection.execute(f"UPDATE deliveries SET {left_behind}".encode())


async def test_a_sender_that_is_cut_off_leaves_the_outcome_open(database: str) -> None:
    """As at a shutdown that does not wait any longer."""

    async def cut_off(receiver: Site) -> None:
        async with integration(database, shutdown_seconds=1) as service:
            service.organization = organization
            sending = asyncio.create_task(send(service, receiver.url("/hang"), seconds=60))
            async with asyncio.timeout(60):
                while not receiver.seen:  # noqa: ASYNC110  what is waited for happens in another server
                    await asyncio.sleep(0.01)
        await asyncio.wait([sending])
        (record,) = await other.deliveries()
        assert record["outcome"] in ("sending", "unknown")

    async with integration(database) as other, site({"/hang": hangs}) as receiver:
        organization = other.organization
        await cut_off(receiver)
        assert_unknown(await send(other, receiver.url("/hang"), seconds=60))
        assert len(receiver.seen) == 1
