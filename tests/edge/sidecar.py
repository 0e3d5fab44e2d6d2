"""A sidecar of Kong's own beside a running mesh: identity, configuration, token, mTLS by the mesh's sentry."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from crewmesh_testkit.mesh import MeshProcess
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.spawning import spawn
from crewmesh_tools.dapr_runtime import ensure_dapr
from crewmesh_tools.mesh import layout as at
from crewmesh_tools.mesh.control_plane import go_environment

from tests.rules.repository import ROOT

_READY_SECONDS, _STOP_SECONDS = 120.0, 30.0
_LOCAL = "127.0.0.1"


@contextmanager
def kongs_sidecar(mesh: MeshProcess, folder: Path) -> Generator[tuple[int, str]]:
    """Its port and its token."""
    token = uuid4().hex
    http, grpc, internal, metrics = free_ports(4)
    layout = mesh.layout
    command = [
        *(str(ensure_dapr(ROOT / "dapr-config" / "runtime") / "daprd"), "--app-id", "kong"),
        *("--dapr-http-port", str(http), "--dapr-grpc-port", str(grpc), "--dapr-listen-addresses", _LOCAL),
        *("--dapr-internal-grpc-port", str(internal), "--dapr-internal-grpc-listen-address", _LOCAL),
        *("--metrics-port", str(metrics), "--metrics-listen-address", _LOCAL),
        *("--enable-mtls", "--sentry-address", f"localhost:{layout.port(at.SENTRY_PORT)}"),
        *("--control-plane-trust-domain", "localhost", "--control-plane-namespace", "default"),
        *("--config", str(layout.names_file), "--config", str(ROOT / "dapr-config" / "kong.yaml")),
        *("--max-body-size", "5Mi", "--read-buffer-size", "16Ki", "--disable-builtin-k8s-secret-store"),
        *("--dapr-graceful-shutdown-seconds", "1", "--log-as-json"),
    ]
    environment = go_environment(
        layout, DAPR_API_TOKEN=token, DAPR_TRUST_ANCHORS=layout.trust_anchors.read_text(), DAPR_HOST_IP=_LOCAL
    )
    log = folder / "kong-dapr.log"
    with log.open("wb") as output:
        process = spawn(command, env=environment, cwd=folder, log=output)
    try:
        _wait_until_healthy(http, process, log)
        yield http, token
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


def free_ports(number: int) -> list[int]:
    """No two of them the same."""
    found: set[int] = set()
    while len(found) < number:
        found.add(free_port())
    return list(found)


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Kong's sidecar did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{_LOCAL}:{port}/v1.0/healthz", timeout=2) as answer:
            return answer.status < 300
    except (urllib.error.URLError, OSError):
        return False
