"""A real sidecar for tests of the kit itself: one daprd over a real Valkey, with the mesh's component names."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crewmesh_kit.settings import DaprSettings
from crewmesh_tools.dapr_runtime import ensure_dapr
from crewmesh_tools.mesh.layout import default_dapr_file
from crewmesh_tools.servers.valkey import ValkeyServer
from pydantic import SecretStr

from crewmesh_testkit.identities import APP_API_TOKEN
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.spawning import spawn

_API_TOKEN = "test-api-token"
_READY_SECONDS, _STOP_SECONDS = 120.0, 10.0

_COMPONENT = """apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec: {{type: {type}, version: v1, metadata: {metadata}}}
"""
# As in the mesh, only with less patience.
_RESILIENCY = """apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: deliveries}
spec:
  policies: {retries: {patient: {policy: constant, duration: 100ms, maxRetries: 4}}}
  targets: {components: {pubsub: {inbound: {retry: patient}}}}
"""


@dataclass(frozen=True)
class SidecarProcess:
    """A running daprd and how its app reaches it."""

    process: subprocess.Popen[bytes]
    settings: DaprSettings
    log: Path

    def is_alive(self) -> bool:
        return self.process.poll() is None


@contextmanager
def running_daprd(
    folder: Path, *, app_id: str, app_port: int, valkey: ValkeyServer, secrets: Mapping[str, str]
) -> Generator[SidecarProcess]:
    """Until its port answers; the app may start then. Everything it reads and writes is in ``folder``."""
    binaries = ensure_dapr(default_dapr_file().parent / "dapr-config" / "runtime")
    http, grpc, internal, metrics = (free_port() for _ in range(4))
    _write_resources(folder, valkey, secrets)
    command = [str(binaries / "daprd"), "--app-id", app_id, "--app-port", str(app_port)]
    command += [
        "--dapr-http-port",
        str(http),
        "--dapr-grpc-port",
        str(grpc),
        "--dapr-internal-grpc-port",
        str(internal),
    ]
    command += ["--metrics-port", str(metrics), "--resources-path", str(folder), "--log-as-json"]
    command += ["--dapr-listen-addresses", "127.0.0.1", "--max-body-size", "5Mi"]  # as in every mesh
    environment = {**os.environ, "DAPR_API_TOKEN": _API_TOKEN, "APP_API_TOKEN": APP_API_TOKEN}
    log = folder / "daprd.log"
    with log.open("wb") as output:
        process = spawn(command, env=environment, cwd=folder, log=output)
    try:
        _wait_for_port(http, process, log)
        settings = DaprSettings(
            http_port=http,
            grpc_port=grpc,
            api_token=SecretStr(_API_TOKEN),
            app_api_token=SecretStr(APP_API_TOKEN),
        )
        yield SidecarProcess(process, settings, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


def _write_resources(folder: Path, valkey: ValkeyServer, secrets: Mapping[str, str]) -> None:
    redis = {"redisHost": f"127.0.0.1:{valkey.port}", "redisPassword": valkey.password}
    blobs, secrets_file = folder / "blobs", folder / "secrets.json"
    blobs.mkdir()
    secrets_file.write_text(json.dumps(secrets))
    components = {
        "pubsub": ("pubsub.redis", {**redis, "processingTimeout": "60s", "redeliverInterval": "15s"}),
        "statestore": ("state.redis", redis),
        "secretstore": ("secretstores.local.file", {"secretsFile": str(secrets_file), "nestedSeparator": ":"}),
        "blobs": ("bindings.localstorage", {"rootPath": str(blobs)}),
    }
    for name, (kind, values) in components.items():
        metadata = json.dumps([{"name": key, "value": value} for key, value in values.items()])
        (folder / f"{name}.yaml").write_text(_COMPONENT.format(name=name, type=kind, metadata=metadata))
    (folder / "resiliency.yaml").write_text(_RESILIENCY)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"daprd did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)
