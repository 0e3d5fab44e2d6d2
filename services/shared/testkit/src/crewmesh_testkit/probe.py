"""A service made of nothing but the kit, with a handler that tests command: the kit against the real world."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import redis
import uvicorn
from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.events import CloudEvent
from crewmesh_contracts.invocations import Invocation
from crewmesh_kit.app import Resources, Service, provided
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.dead_letters import DeadLetter, DeadLetters
from crewmesh_kit.errors import NotFound
from crewmesh_kit.http.pagination import PageRequest
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.settings import HttpServerSettings, ServiceSettings
from crewmesh_kit.telemetry import trace_headers
from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from crewmesh_testkit.daprd import SidecarProcess, running_daprd
from crewmesh_testkit.identities import identity, private_key, public_keys
from crewmesh_testkit.polling import until
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.servers import PostgresServer, running_valkey

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


class DyingAnswer(Response):
    """An answer whose service is gone before the body left, as after a kill."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


@router.post("/internal/ask", response_model=Answer)
async def ask(question: Question, who: Annotated[Identity, requires("ask")]) -> Answer | DyingAnswer:
    if question.text == "missing":
        raise NotFound("There is no such answer.", hint="ask another question")
    if question.text == "slow":
        await asyncio.sleep(5)
    if question.text == "die":
        return DyingAnswer(b'{"text": "never whole", "asked_by": "nobody"}')
    return Answer(text=question.text.upper(), asked_by=who.organization)


@router.get("/internal/stream")
async def stream(
    _: Annotated[Identity, requires("ask")], goes_on: Annotated[asyncio.Event, provided(asyncio.Event)]
) -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        yield b"first\n"
        await goes_on.wait()
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
    stream_goes_on: asyncio.Event = field(default_factory=asyncio.Event)

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
            seconds=60,
            what=f"the event {event_id} to be handled",
        )

    async def dead(self, who: Identity = OPERATOR) -> list[DeadLetter]:
        return list((await self.letters.list(who, PageRequest(limit=200, cursor=None))).items)

    async def until_dead(self, mark: str) -> DeadLetter:
        async def found() -> DeadLetter | None:
            return next((letter for letter in await self.dead() if mark in letter.model_dump_json()), None)

        return await until(found, seconds=60, what=f"a dead letter with {mark}")

    def put_on_stream(self, payload: bytes) -> None:
        """Past any sidecar, as a foreign producer on the same broker would."""
        self.valkey.execute_command("XADD", TOPIC, "*", "data", payload)  # pyright: ignore[reportUnknownMemberType]


@asynccontextmanager
async def running_probe(postgres: PostgresServer, folder: Path) -> AsyncGenerator[Probe]:
    """A service of the kit with a real sidecar, database and broker."""
    port = free_port()
    secrets = {
        f"identity-key-{APP}": private_key(APP),
        "identity-keys": public_keys(),
        f"database-url-{APP}": postgres.create_service_database(APP),
    }
    with (
        running_valkey(folder) as (valkey, _),
        running_daprd(_folder_in(folder), app_id=APP, app_port=port, valkey=valkey, secrets=secrets) as sidecar_process,
    ):
        client = redis.Redis(host="127.0.0.1", port=valkey.port, password=valkey.password)
        settings = ServiceSettings(http=HttpServerSettings(port=port), dapr=sidecar_process.settings)
        service = Service(APP, settings, title="Probe", version="0")
        probe = Probe(service, sidecar_process, client)
        service.resources.add(probe.stream_goes_on)
        service.database(migrations=_folder_in(folder, "migrations"))
        service.routes(router)
        service.subscribe(topic=TOPIC, handler=probe.handle)
        async with _serving(service, port):
            await _until_subscribed(probe)
            yield probe
        client.close()


def _folder_in(folder: Path, name: str = "dapr") -> Path:
    (folder / name).mkdir()
    return folder / name


@asynccontextmanager
async def _serving(service: Service, port: int) -> AsyncGenerator[None]:
    server = uvicorn.Server(uvicorn.Config(service.app, host="127.0.0.1", port=port, log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done(), seconds=120, what="the service to start")
    assert server.started, "the service did not start; see its log"
    yield
    server.should_exit = True
    await task


async def _until_subscribed(probe: Probe) -> None:
    event = CloudEvent(id=uuid4().hex, source="tests", type="first")

    async def arrives() -> bool:
        await probe.sidecar.publish(TOPIC, event)
        return bool(probe.handled)

    await until(arrives, seconds=120, every=0.3, what="the sidecar to subscribe")
