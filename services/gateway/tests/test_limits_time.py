"""The gateway's own routes answer in time, or say that they did not; bodies that drip are given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import cast

import pytest
from crewmesh_gateway.limits.layer import AnswerInTime
from crewmesh_gateway.main import create_app
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.settings import KeySettings, LimitSettings, Settings
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from .gateway import BEARER, KEY, served
from .inside import held

_SECONDS = 0.5


@pytest.fixture
def hasty(settings: Settings, sidecar: FakeSidecar) -> FastAPI:
    """A gateway that gives up soon."""
    soon = {"limits": LimitSettings(answer_seconds=_SECONDS), "keys": KeySettings(cache_seconds=300)}
    return create_app(settings.model_copy(update=soon), sidecar)


async def exchanged(address: tuple[str, int], pieces: Iterator[bytes]) -> tuple[int, dict[str, object]]:
    """Sends the pieces with pauses until something is answered, or waits for it after the last."""
    reader, writer = await asyncio.open_connection(*address)
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    try:
        async with asyncio.timeout(120):
            while not answer.done() and (piece := next(pieces, None)):
                writer.write(piece)
                await asyncio.wait({answer}, timeout=_SECONDS / 4)
            head = (await answer).decode().lower()
            length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
            body = await reader.readexactly(int(length.split(":")[1]))
        return int(head.split(" ")[1]), cast("dict[str, object]", json.loads(body))
    finally:
        writer.close()


async def test_a_body_that_drips_is_given_up_though_something_always_arrives(hasty: FastAPI) -> None:
    head = (
        "POST /v1/teams HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
        f"authorization: {BEARER['authorization']}\r\ncontent-length: 1000\r\n\r\n"
    )
    async with served(hasty) as address:
        pieces = iter([head.encode(), *[b"{"] * 400])
        status, problem = await exchanged(address, pieces)
    assert (status, problem["title"]) == (408, "Request timeout")
    assert next(pieces, None), "it was answered while something still arrived"


async def test_a_login_whose_body_never_comes_is_given_up(hasty: FastAPI) -> None:
    head = "POST /v1/auth/login HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
    async with served(hasty) as address:
        status, _ = await exchanged(address, iter([head.encode()]))
    assert status == 408


async def test_work_that_takes_too_long_is_given_up_and_leaves_nothing_behind(app: FastAPI, hasty: FastAPI) -> None:
    async with running(app) as client, running(hasty) as hurried:
        await asyncio.wait_for(held(hasty, Signals).begun.wait(), 60)  # from here on it forgets nobody
        await held(hasty, Principals).whose(KEY.text, address="a")
        async with held(app, Database).system() as conn:
            await conn.execute("SELECT 1 FROM organizations FOR UPDATE")  # whoever creates waits for this
            slow = await hurried.post("/v1/teams", json={"name": "Slow"}, headers=BEARER)
            assert slow.status_code == 504
            assert slow.json()["type"].endswith("/answer-too-slow")
            assert slow.headers["retry-after"]
            assert slow.headers["ratelimit"], "it was counted, and says so"
        teams = (await client.get("/v1/teams", headers=BEARER)).json()
        assert teams["items"] == []
        assert (await client.post("/v1/teams", json={"name": "Slow"}, headers=BEARER)).status_code == 201


async def test_an_answer_that_began_may_take_its_time(hasty: FastAPI) -> None:
    async def streaming(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(_SECONDS * 2)
        await send({"type": "http.response.body", "body": b"done"})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    resources: Resources = hasty.state.resources
    scope: Scope = {"type": "http", "path": "/v1/exports/exp_1/file", "method": "GET", "headers": []}
    await AnswerInTime(streaming, resources=resources)(scope, receive, send)
    assert [message.get("body") for message in sent] == [None, b"done"]


async def test_a_timeout_of_the_work_itself_stays_what_it_is(hasty: FastAPI) -> None:
    async def failing(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise TimeoutError("of its own")

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def refused(_message: Message) -> None:
        raise AssertionError("nothing is answered in its place")

    layer = AnswerInTime(failing, resources=hasty.state.resources)
    with pytest.raises(TimeoutError, match="of its own"):
        await layer({"type": "http", "path": "/v1/me", "method": "GET", "headers": []}, nothing, refused)
