"""Tiny real programs to supervise, and places to keep them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from crewmesh_testkit import polling
from crewmesh_testkit.ports import free_port
from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.logfiles import RotatingLog
from crewmesh_tools.mesh.probes import http_check
from crewmesh_tools.mesh.process import Process
from crewmesh_tools.mesh.specs import ProcessSpec

# Answers 200 on every path; says what it was told by signals.
SERVER = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("up", os.getpid(), flush=True)
server.serve_forever()
"""


Supervise = Callable[[ProcessSpec], Process]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "dapr.yaml", tmp_path)
    made.logs.mkdir(parents=True)
    return made


@pytest.fixture
def server_spec(tmp_path: Path) -> ProcessSpec:
    port = free_port()
    return ProcessSpec(
        name="server",
        command=(sys.executable, "-c", SERVER, str(port)),
        port=port,
        check=http_check(port, "/healthz"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        stop_seconds=60,
    )


@pytest.fixture
async def supervise(layout: Layout) -> AsyncGenerator[Supervise]:
    """Runs a spec under supervision until the test ends."""
    started: list[tuple[Process, asyncio.Task[None]]] = []

    def start(spec: ProcessSpec) -> Process:
        process = Process(spec, RotatingLog(layout.logs / f"{spec.name}.log"), lambda: None)
        others = {one.spec.name: one for one, _ in started}
        started.append((process, asyncio.create_task(process.run(others))))
        return process

    yield start
    for process, task in started:
        await process.stop()
        await task
        process.log.close()


@pytest.fixture
def script(server_spec: ProcessSpec) -> Callable[[str], ProcessSpec]:
    """A spec that runs this Python text instead of the server."""

    def make(text: str) -> ProcessSpec:
        return replace(server_spec, command=(sys.executable, "-u", "-c", text, str(server_spec.port)))

    return make


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    async def poll(condition: Callable[[], object]) -> None:
        await polling.until(condition, seconds=60, what="what the test waits for", every=0.02)

    return poll
