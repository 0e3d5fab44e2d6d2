"""A service as a process: how it starts, how it refuses to, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread

import pytest
from crewmesh_testkit.ports import free_port

# What takes a second takes half a minute where everything else is done at the same time.
_SECONDS = 60
SERVICE = """
import asyncio
import gc
from pathlib import Path
from typing import Annotated

from crewmesh_kit.app import Service, provided, serve
from crewmesh_kit.background import Background
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.sse import EventStream, encoded
from crewmesh_kit.identity import public
from crewmesh_kit.settings import ServiceSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from fastapi import APIRouter

router = APIRouter(prefix="/v1", dependencies=[public()])

async def until_it_stops_and_a_little(lifecycle):
    await lifecycle.stopping.wait()
    await asyncio.sleep(0.2)

@router.get("/slow")
async def slow(lifecycle: Annotated[Lifecycle, provided(Lifecycle)]):
    await until_it_stops_and_a_little(lifecycle)
    return "finished"

@router.post("/later")
async def later(
    background: Annotated[Background, provided(Background)], lifecycle: Annotated[Lifecycle, provided(Lifecycle)]
):
    async def write():
        await until_it_stops_and_a_little(lifecycle)
        Path("later").write_text("finished")
    background.start("write", write())

@router.get("/frozen")
async def frozen():
    return gc.get_freeze_count()

async def endless():
    yield encoded("1", "number", {"is": 0})
    await asyncio.Event().wait()

@router.get("/stream", response_class=EventStream)
async def stream(lifecycle: Annotated[Lifecycle, provided(Lifecycle)]) -> EventStream:
    return EventStream(endless(), lifecycle)

def create_app():
    sidecar = None if Path("real-sidecar").exists() else FakeSidecar("knowledge")
    service = Service("knowledge", ServiceSettings(), title="T", version="1", sidecar=sidecar)
    service.routes(router)
    return service.app

serve(create_app)
"""


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int

    def get(self, path: str, method: str = "GET") -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        connection.request(method, path)
        return connection.getresponse()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_SECONDS)

    def log(self) -> list[dict[str, str]]:
        assert self.process.stdout is not None
        return [json.loads(line) for line in self.process.stdout.read().splitlines()]


def launch(folder: Path, port: int, **variables: str) -> Running:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("CREWMESH_", "DAPR_", "APP_"))}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        cwd=folder,
        env={**plain, "APP_ID": "knowledge", "APP_PORT": str(port), **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    return Running(process, port)


def wait_until_open(running: Running) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", running.port)) == 0:
                return
        assert running.process.poll() is None, running.log()
        time.sleep(0.05)
    raise AssertionError("the port did not open")


@pytest.fixture
def running(tmp_path: Path) -> Generator[Running]:
    running = launch(tmp_path, free_port(), CREWMESH_HTTP__SHUTDOWN_SECONDS="300")
    try:
        wait_until_open(running)
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def test_it_is_ready_when_its_port_opens(running: Running) -> None:
    assert running.get("/readyz").status == 200
    assert running.stop() == 0


def test_what_was_there_at_the_start_is_left_alone_by_the_collector(running: Running) -> None:
    assert int(running.get("/v1/frozen").read()) > 10_000, "modules, routes and models"
    assert running.stop() == 0


def test_a_request_in_flight_is_finished(running: Running) -> None:
    answers: list[bytes] = []
    asking = Thread(target=lambda: answers.append(running.get("/v1/slow").read()))
    asking.start()
    wait_for_in_flight(running)
    assert running.stop() == 0
    asking.join()
    assert answers == [b'"finished"']


def test_work_in_hand_is_finished(running: Running, tmp_path: Path) -> None:
    assert running.get("/v1/later", "POST").status == 200
    assert running.stop() == 0
    assert (tmp_path / "later").read_text() == "finished"


def test_an_open_stream_does_not_hold_it_up(running: Running) -> None:
    stream = running.get("/v1/stream")
    assert stream.readline() == b"id: 1\n"
    assert running.stop() == 0, "long before the time for what is in hand is over"
    assert stream.read() == b'event: number\ndata: {"is":0}\n\n'


def test_it_logs_json_only(running: Running) -> None:
    running.stop()
    assert all(line["app"] == "knowledge" and line["event"] for line in running.log())


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"CREWMESH_LOG__LEVEL": "sesame"}, "CREWMESH_LOG__LEVEL: Input should be 'debug', 'info'"),
        ({"APP_PORT": "99999"}, "APP_PORT: Input should be less than or equal to 65535"),
        ({"DAPR_API_TOKEN_FILE": "/nowhere"}, "DAPR_API_TOKEN_FILE names /nowhere, which cannot be read"),
        ({"CREWMESH_ENVIRONMENT": "production"}, "DAPR_API_TOKEN and APP_API_TOKEN must be set"),
    ],
)
def test_wrong_settings_are_named_and_keep_it_down(tmp_path: Path, variables: dict[str, str], told: str) -> None:
    refused = launch(tmp_path, free_port(), **variables)
    assert refused.process.wait(_SECONDS) == 78
    (line,) = refused.log()
    assert told in str(line["reasons"])
    assert "sesame" not in str(line)


def test_asked_to_stop_while_it_waits_for_its_sidecar_it_stops(tmp_path: Path) -> None:
    (tmp_path / "real-sidecar").touch()
    waiting = launch(tmp_path, free_port(), DAPR_HTTP_PORT=str(free_port()))
    assert waiting.process.stdout is not None
    first = json.loads(waiting.process.stdout.readline())
    assert first["event"] == "waiting for the sidecar"
    assert waiting.stop() == 3
    assert "no healthy sidecar" in str(waiting.log())


def wait_for_in_flight(running: Running) -> None:
    """Until a request besides this one is being answered."""
    deadline = time.monotonic() + _SECONDS
    while b"crewmesh_http_requests_in_flight 2.0" not in running.get("/metrics").read():
        assert time.monotonic() < deadline
