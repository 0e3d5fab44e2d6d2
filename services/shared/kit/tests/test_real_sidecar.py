"""The kit against a real daprd, Valkey and PostgreSQL: what messages, calls and stores really do."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import pytest
import pytest_asyncio
import redis
import uvicorn
from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.events import CloudEvent, OrganizationCreated
from crewmesh_contracts.invocations import Invocation
from crewmesh_kit.app import Resources, Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.dead_letters import DeadLetter, DeadLetters
from crewmesh_kit.errors import BadGateway, GatewayTimeout, NotFound, RemoteProblem, Unavailable
from crewmesh_kit.http.pagination import PageRequest
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.settings import HttpServerSettings, ServiceSettings
from crewmesh_kit.telemetry import continued, trace_headers
from crewmesh_testkit import ORGANIZATION, OTHER_ORGANIZATION, PostgresServer, free_port, identity
from crewmesh_testkit.daprd import SidecarProcess, running_daprd
from crewmesh_testkit.identities import private_key, public_keys
from crewmesh_testkit.polling import until
from crewmesh_testkit.servers import running_valkey
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "knowledge"
TOPIC = "events"
OPERATOR = identity("*")


class Question(Contract):
    text: str


class Answer(Reply):
    text: str
    asked_by: str


ASK = Invocation(
    app=APP, path="/internal/ask", permission="ask", request=Question, result=Answer, callers=(APP,), effect=False
)
NOBODY = Invocation(
    app="nobody", path="/internal/ask", permission="ask", request=Question, result=Answer, callers=(APP,), effect=False
)

router = APIRouter()


@router.post("/internal/ask")
async def ask(question: Question, who: Annotated[Identity, requires("ask")]) -> Answer:
    if question.text == "missing":
        raise NotFound("There is no such answer.", hint="ask another question")
    if question.text == "slow":
        await asyncio.sleep(5)
    return Answer(text=question.text.upper(), asked_by=who.organization)


@router.get("/internal/stream")
async def stream(_: Annotated[Identity, requires("ask")]) -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        yield b"first\n"
        await asyncio.sleep(1.0)
        yield b"last\n"

    return StreamingResponse(lines(), media_type="text/plain")


@dataclass
class Probe:
    """A service with a handler that the tests command."""

    service: Service
    sidecar_process: SidecarProcess
    valkey: redis.Redis
    handled: list[CloudEvent] = field(default_factory=list[CloudEvent])
    traces: dict[str, str] = field(default_factory=dict[str, str])
    attempts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    fail_times: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def sidecar(self) -> Sidecar:
        return self.service.resources.get(Sidecar)

    @property
    def letters(self) -> DeadLetters:
        return self.service.resources.get(DeadLetters)

    async def handle(self, _: Resources, event: CloudEvent) -> None:
        self.attempts[event.id] += 1
        self.traces[event.id] = trace_headers().get("traceparent", "")
        if event.type == "unknown.thing":
            raise NotFound("There is no such thing.")
        if event.type == "bad.data":
            Question.model_validate(event.data)
        if self.attempts[event.id] <= self.fail_times.get(event.id, 0):
            raise RuntimeError("not this time")
        if event.type == "stored":
            async with self.service.resources.get(Database).system() as conn:
                await conn.execute("SELECT %s::text", [str(event.data)])
        self.handled.append(event)

    async def until_handled(self, event_id: str) -> CloudEvent:
        return await until(
            lambda: next((event for event in self.handled if event.id == event_id), None),
            seconds=20,
            what=f"the event {event_id} to be handled",
        )

    async def dead(self, who: Identity = OPERATOR) -> list[DeadLetter]:
        return list((await self.letters.list(who, PageRequest(limit=200, cursor=None))).items)

    async def until_dead(self, mark: str) -> DeadLetter:
        async def found() -> DeadLetter | None:
            return next((letter for letter in await self.dead() if mark in letter.model_dump_json()), None)

        return await until(found, seconds=20, what=f"a dead letter with {mark}")

    def put_on_stream(self, payload: bytes) -> None:
        """Past any sidecar, as a foreign producer on the same broker would."""
        self.valkey.execute_command("XADD", TOPIC, "*", "data", payload)  # pyright: ignore[reportUnknownMemberType]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def probe(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Probe]:
    folder = tmp_path_factory.mktemp("probe")
    port = free_port()
    secrets = {
        f"identity-key-{APP}": private_key(APP),
        "identity-keys": public_keys(),
        f"database-url-{APP}": postgres.create_service_database(APP),
    }
    with (
        running_valkey(folder) as (valkey, _),
        running_daprd(_sub(folder), app_id=APP, app_port=port, valkey=valkey, secrets=secrets) as sidecar_process,
    ):
        client = redis.Redis(host="127.0.0.1", port=valkey.port, password=valkey.password)
        settings = ServiceSettings(http=HttpServerSettings(port=port), dapr=sidecar_process.settings)
        service = Service(APP, settings, title="Probe", version="0")
        probe = Probe(service, sidecar_process, client)
        service.database(migrations=_sub(folder, "migrations"))
        service.routes(router)
        service.subscribe(topic=TOPIC, handler=probe.handle)
        async with _serving(service, port):
            await _until_subscribed(probe)
            yield probe
        client.close()


def _sub(folder: Path, name: str = "dapr") -> Path:
    (folder / name).mkdir()
    return folder / name


@asynccontextmanager
async def _serving(service: Service, port: int) -> AsyncGenerator[None]:
    server = uvicorn.Server(uvicorn.Config(service.app, host="127.0.0.1", port=port, log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done(), seconds=60, what="the service to start")
    assert server.started, "the service did not start; see its log"
    yield
    server.should_exit = True
    await task


async def _until_subscribed(probe: Probe) -> None:
    event = CloudEvent(id=uuid4().hex, source="tests", type="first")

    async def arrives() -> bool:
        await probe.sidecar.publish(TOPIC, event)
        return bool(probe.handled)

    await until(arrives, seconds=30, every=0.3, what="the sidecar to subscribe")


def good(**changes: object) -> dict[str, object]:
    event = {"specversion": "1.0", "id": uuid4().hex, "source": "tests", "type": "good", "crewmeshorg": ORGANIZATION}
    return event | changes


class TestDelivery:
    async def test_an_event_arrives_as_it_was_made(self, probe: Probe) -> None:
        event = CloudEvent(
            id=uuid4().hex,
            source="tests",
            type="good",
            subject="s",
            data={"ü": [1, None, "\U0001f389"]},
            crewmeshorg=ORGANIZATION,
        )
        await probe.sidecar.publish(TOPIC, event)
        arrived = await probe.until_handled(event.id)
        assert arrived.model_dump(exclude={"time"}) == event.model_dump(exclude={"time"})

    async def test_an_event_from_the_outbox_carries_its_trace(self, probe: Probe) -> None:
        trace = "0af7651916cd43dd8448eb211c80319c"
        with continued({"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
            async with probe.service.resources.get(Database).tenant(ORGANIZATION) as conn:
                await outbox.add(conn, _Happened(organization=ORGANIZATION, name=trace))
        event = await until(
            lambda: next((event for event in probe.handled if trace in str(event.data)), None),
            seconds=20,
            what="the event from the outbox",
        )
        assert trace in probe.traces[event.id]
        assert event.model_extra == {}, "what the sidecar and the kit add on the way is taken off again"

    async def test_many_at_once_all_arrive(self, probe: Probe) -> None:
        events = [CloudEvent(id=uuid4().hex, source="tests", type="good") for _ in range(100)]
        await probe.sidecar.publish_many(TOPIC, events)
        for event in events:
            await probe.until_handled(event.id)

    async def test_a_failing_handler_is_tried_again(self, probe: Probe) -> None:
        event = CloudEvent(id=uuid4().hex, source="tests", type="good")
        probe.fail_times[event.id] = 2
        await probe.sidecar.publish(TOPIC, event)
        await probe.until_handled(event.id)
        assert probe.attempts[event.id] == 3


POISON: dict[str, bytes] = {
    "a numeric traceid": json.dumps(good(traceid=5, subject="MARK")).encode(),
    "a numeric traceparent": json.dumps(good(traceparent=5, subject="MARK")).encode(),
    "a numeric id": json.dumps(good(id=7, subject="MARK")).encode(),
    "no type": json.dumps(good(type="", subject="MARK")).encode(),
    "an unknown spec version": json.dumps(good(specversion="0.3", subject="MARK")).encode(),
    "a list": b'["MARK"]',
    "a string": b'"MARK"',
    "no JSON": b"{MARK",
    "no text": b"\xff\xfe MARK",
    "a NUL character": json.dumps(good(type="stored", data="a\0b", subject="MARK")).encode(),
    "half a surrogate": b'{"specversion": "1.0", "id": "MARK", "source": "s", "type": "stored", "data": "\\ud800"}',
    "very deep": b'{"subject": "MARK", "data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "what it names is not there": json.dumps(good(type="unknown.thing", subject="MARK")).encode(),
    "data of another shape": json.dumps(good(type="bad.data", data={"txt": 1}, subject="MARK")).encode(),
}


class TestPoison:
    @pytest.mark.parametrize("name", POISON)
    async def test_ends_among_the_dead_letters_and_harms_nobody(self, probe: Probe, name: str) -> None:
        mark = uuid4().hex
        payload = POISON[name].replace(b"MARK", mark.encode())
        probe.put_on_stream(payload)
        if name == "no text":
            mark = "data:application/octet-stream;base64,"
        letter = await probe.until_dead(mark)
        assert letter.topic == TOPIC
        assert len(letter.reason) > 20
        after = CloudEvent(id=uuid4().hex, source="tests", type="good")
        await probe.sidecar.publish(TOPIC, after)
        await probe.until_handled(after.id)
        assert probe.sidecar_process.is_alive()

    async def test_a_handler_that_never_succeeds_gives_up(self, probe: Probe) -> None:
        event = CloudEvent(id=uuid4().hex, source="tests", type="good")
        probe.fail_times[event.id] = 1000
        await probe.sidecar.publish(TOPIC, event)
        letter = await probe.until_dead(event.id)
        assert "never worked" in letter.reason
        assert probe.attempts[event.id] == 5

    async def test_the_reason_does_not_repeat_what_was_sent(self, probe: Probe) -> None:
        mark = uuid4().hex
        probe.put_on_stream(json.dumps(good(subject=mark, time="SECRET-VALUE")).encode())
        letter = await probe.until_dead(mark)
        assert "time" in letter.reason
        assert "SECRET-VALUE" not in letter.reason


class TestDeadLetters:
    async def test_belong_to_the_organization_of_their_event(self, probe: Probe) -> None:
        mark = uuid4().hex
        probe.put_on_stream(json.dumps(good(type="unknown.thing", subject=mark)).encode())
        letter = await probe.until_dead(mark)
        ours = identity("dead-letters:read")
        theirs = identity("dead-letters:read", organization=OTHER_ORGANIZATION)
        assert letter.id in [each.id for each in await probe.dead(ours)]
        assert letter.id not in [each.id for each in await probe.dead(theirs)]
        with pytest.raises(NotFound):
            await probe.letters.redrive(theirs, letter.id)

    async def test_without_an_organization_are_for_operators(self, probe: Probe) -> None:
        mark = uuid4().hex
        probe.put_on_stream(f"{{{mark}".encode())
        letter = await probe.until_dead(mark)
        assert letter.id not in [each.id for each in await probe.dead(identity("dead-letters:read"))]

    async def test_are_sent_again_once(self, probe: Probe) -> None:
        event = CloudEvent(id=uuid4().hex, source="tests", type="good", crewmeshorg=ORGANIZATION)
        probe.fail_times[event.id] = 5
        await probe.sidecar.publish(TOPIC, event)
        letter = await probe.until_dead(event.id)
        again = await probe.letters.redrive(OPERATOR, letter.id)
        assert again.redriven_at is not None
        assert (await probe.letters.redrive(OPERATOR, letter.id)).redriven_at == again.redriven_at
        await probe.until_handled(event.id)
        assert probe.attempts[event.id] == 6

    @pytest.mark.parametrize("payload", [b'{"type": "", "x": "MARK"}', b"\xff\0MARK"])
    async def test_that_die_again_are_new_letters(self, probe: Probe, payload: bytes) -> None:
        before = {letter.id for letter in await probe.dead()}
        probe.put_on_stream(payload.replace(b"MARK", os.urandom(8).hex().encode()))

        async def new(count: int) -> list[DeadLetter]:
            async def found() -> list[DeadLetter] | None:
                letters = [letter for letter in await probe.dead() if letter.id not in before]
                return letters if len(letters) == count else None

            return await until(found, seconds=20, what=f"{count} new dead letters")

        (first,) = await new(1)
        await probe.letters.redrive(OPERATOR, first.id)
        second, first = await new(2)
        assert (second.event, second.raw) == (first.event, first.raw)


class TestCalls:
    async def test_are_answered_on_behalf_of_who_asks(self, probe: Probe) -> None:
        answer = await probe.sidecar.call(ASK, Question(text="hello"), identity=identity("ask"))
        assert answer == Answer(text="HELLO", asked_by=ORGANIZATION)

    async def test_a_problem_comes_back_as_it_was_told(self, probe: Probe) -> None:
        with pytest.raises(RemoteProblem) as told:
            await probe.sidecar.call(ASK, Question(text="missing"), identity=identity("ask"))
        assert (told.value.status, told.value.slug, told.value.retryable) == (404, "not-found", False)
        assert told.value.detail == "There is no such answer."
        assert told.value.extensions["hint"] == "ask another question"

    async def test_without_permission_is_refused(self, probe: Probe) -> None:
        with pytest.raises(RemoteProblem) as told:
            await probe.sidecar.call(ASK, Question(text="x"), identity=identity("other"))
        assert told.value.status == 403

    async def test_to_a_service_that_is_not_there(self, probe: Probe) -> None:
        with pytest.raises(Unavailable, match="nobody cannot be reached"):
            await probe.sidecar.call(NOBODY, Question(text="x"), identity=identity("ask"))

    async def test_that_take_too_long(self, probe: Probe) -> None:
        with pytest.raises(GatewayTimeout, match=r"0\.3 seconds"):
            await probe.sidecar.call(ASK, Question(text="slow"), identity=identity("ask"), timeout=0.3)

    async def test_streams_pass_unbuffered(self, probe: Probe) -> None:
        headers = {"authorization": await probe.sidecar.authorization(identity("ask"), audience=APP)}
        async with probe.sidecar.forward(APP, "GET", "/internal/stream", headers=headers) as answer:
            began = asyncio.get_running_loop().time()
            assert await answer.content.readline() == b"first\n"
            assert asyncio.get_running_loop().time() - began < 0.7
            assert await answer.content.readline() == b"last\n"


class TestStores:
    async def test_secrets(self, probe: Probe) -> None:
        assert await probe.sidecar.secret("identity-keys") == public_keys()
        with pytest.raises(BadGateway, match="'no-such-secret'"):
            await probe.sidecar.secret("no-such-secret")

    async def test_state(self, probe: Probe) -> None:
        state = probe.sidecar.state
        assert await state.get("k") is None
        await state.set("k", b"\x00\xffbytes", ttl_seconds=60)
        assert await state.get("k") == b"\x00\xffbytes"
        await state.delete("k")
        assert await state.get("k") is None

    async def test_blobs(self, probe: Probe) -> None:
        blobs = probe.sidecar.blobs
        for payload in (b"text", b'{"a": 1}', b"\x00\xff" * 50_000, b"YWJj", b"x" * 3_000_000):
            reference = await blobs.put(payload)
            assert await blobs.get(reference) == payload
        with pytest.raises(NotFound):
            await blobs.get("sha256:" + "0" * 64)

    async def test_metadata(self, probe: Probe) -> None:
        metadata = await probe.sidecar.metadata()
        assert metadata.id == APP
        assert metadata.connected_workers == 0


class _Happened(OrganizationCreated):
    """An event of ours on the topic the probe listens to."""

    topic = TOPIC
