"""The whole mesh as a test sees it: started by its runner in a folder of its own, on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp
from crewmesh_contracts.invocations.base import Invocation, RequestT, ResultT
from crewmesh_kit.identity import Identity, TokenSigner
from crewmesh_tools.mesh.layout import Layout, default_dapr_file
from crewmesh_tools.mesh.state import MeshStatus, is_locked, read_status
from yarl import URL

from crewmesh_testkit.mesh_client import JsonDict, MeshClient
from crewmesh_testkit.polling import until

APPS = ("gateway", "workflow", "agent-crew", "integration", "knowledge")
# What each of them can be asked for at any time.
READS = ("/v1/me", "/v1/runs?limit=1", "/v1/crews?limit=1", "/v1/deliveries?limit=1", "/v1/knowledge-bases?limit=1")
__all__ = ["APPS", "READS", "Credentials", "JsonDict", "MeshClient", "MeshProcess", "free_offset"]

_APP_PORT, _DAPR_HTTP_PORT, _DAPR_METRICS_PORT = 8080, 3500, 9190
_FIRST_PORTS = (_APP_PORT, _DAPR_HTTP_PORT, 4500, 5500, _DAPR_METRICS_PORT)
_OTHER_PORTS = (5480, 6380, 8090, 9300, 9301, 9302, *range(9310, 9314), *range(9320, 9325))
_EVERY_PORT = (*(first + number for first in _FIRST_PORTS for number in range(2 * len(APPS))), *_OTHER_PORTS)
_OFFSETS = range(10_000, 23_000, 250)
_OWN_KEY = "the key of the first start"
# More than the runner allows itself, so that it is the runner who says what is wrong.
_UP_SECONDS, _STOP_SECONDS = 600, 300
_LAST_LINES = 15
_BACK_SECONDS = 180
_ANSWERED_WITHIN = 180


@dataclass(frozen=True, slots=True)
class Credentials:
    api_url: str
    api_key: str
    webhook_secret: str


class MeshProcess:
    """One running mesh. Start it once per test session; it takes about as long as ``make run``."""

    def __init__(
        self, home: Path, *, offset: int | None = None, environment: Mapping[str, str] | None = None, replicas: int = 1
    ) -> None:
        self.home = home
        self.layout = Layout(default_dapr_file(), home, free_offset() if offset is None else offset, replicas)
        self._environment = {**os.environ, **(environment or {})}
        self._organization: str | None = None

    def start(self) -> None:
        """Until everything is ready; what went wrong is in the error."""
        done = self._run("up", "--replicas", str(self.layout.replicas), seconds=_UP_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"the mesh did not start:\n{done.stdout}\n{done.stderr}")

    def stop(self) -> None:
        done = self._run("stop", seconds=_STOP_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"the mesh did not stop:\n{done.stdout}\n{done.stderr}")

    def status(self) -> MeshStatus:
        """What the supervisor wrote down last. Read here: another program would take seconds on a busy machine."""
        known = read_status(self.layout.state_file)
        if known is None or not is_locked(self.layout.lock_file):
            raise RuntimeError(f"no mesh is running in {self.home}\n{known.problem if known else ''}")
        return known

    def kill(self, name: str) -> int:
        """SIGKILL to one process of the mesh, until its supervisor knows of it; its id.

        One that has just ended by itself is waited for.
        """
        deadline = time.monotonic() + _BACK_SECONDS
        killed: int | None = None
        while time.monotonic() < deadline:
            pid = self.status().process(name).pid
            if killed is not None and pid != killed:
                return killed
            if killed is None and pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed = pid
            time.sleep(0.01)
        was = "not running" if killed is None else "not missed by its supervisor"
        raise RuntimeError(f"{name} was {was} for {_BACK_SECONDS} s\n{self.late()}")

    async def until_ready(self, *, seconds: float = 240) -> None:
        """Every process is ready, again, and every service answers callers.

        Its supervisor learns some seconds late that a service has lost its database or its sidecar.
        """
        async with self.client() as client:
            refused: list[str] = []

            async def is_ready() -> bool:
                if any(process.state != "ready" for process in self.status().processes):
                    return False
                answers = [(path, await client.try_get(path)) for path in READS]
                refused[:] = [
                    f"{path}: {answer and (answer.status, answer.body)}"
                    for path, answer in answers
                    if answer is None or answer.status != 200
                ]
                return not refused

            await until(
                is_ready,
                seconds=seconds,
                every=0.5,
                what=lambda: f"every process of the mesh to be ready {refused or ''}\n{self.late()}",
            )

    def late(self) -> str:
        """Who is not ready, why, and its last words."""
        late = [process for process in self.status().processes if process.state != "ready"]
        return "\n".join(
            f"{each.name} is {each.state} ({each.detail}), {each.restarts} restarts; the end of its log:\n"
            + "\n".join(self.log(each.name).splitlines()[-_LAST_LINES:])
            for each in late
        )

    @property
    def credentials(self) -> Credentials:
        known = cast("dict[str, str]", json.loads(self.layout.credentials_file.read_text()))
        return Credentials(known["api_url"], known["api_key"], known["webhook_secret"])

    @property
    def organization(self) -> str:
        """The organization that the first start made."""
        if self._organization is None:
            known = self.credentials
            headers = {"authorization": f"Bearer {known.api_key}"}
            request = urllib.request.Request(f"{known.api_url}/v1/me", headers=headers)
            with urllib.request.urlopen(request, timeout=_ANSWERED_WITHIN) as answer:
                me = cast(JsonDict, json.load(answer))
            self._organization = str(me["organization"]["id"])
        return self._organization

    def client(self, *, key: str | None = _OWN_KEY, headers: Mapping[str, str] | None = None) -> MeshClient:
        """A client with the key of the first start, another one, or none."""
        known = self.credentials
        return MeshClient(known.api_url, known.api_key if key == _OWN_KEY else key, headers)

    async def publish(self, topic: str, event: Mapping[str, object], *, app: str = "gateway") -> None:
        """Put an event on a topic as a producer inside the mesh would."""
        status, body = await self._ask_sidecar(
            app,
            "POST",
            f"/v1.0/publish/pubsub/{topic}",
            body=json.dumps(event).encode(),
            headers={"content-type": "application/cloudevents+json"},
        )
        assert status == 204, body

    async def invoke_through_sidecar(
        self,
        caller: str,
        callee: str,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, str]:
        """What ``caller``'s sidecar answers when ``callee`` is to be called; ``token`` replaces the right one."""
        path = f"/v1.0/invoke/{callee}/method{path}"
        return await self._ask_sidecar(caller, method, path, body=body, headers=headers, token=token)

    async def call(self, caller: str, invocation: Invocation[RequestT, ResultT], request: RequestT) -> tuple[int, str]:
        """An invocation as ``caller`` would make it, with a token of its own for the first organization."""
        identity = Identity(self.organization, "test", frozenset({invocation.permission}))
        token = TokenSigner(self._secrets[f"identity-key-{caller}"], app_id=caller).sign(
            identity, audience=invocation.app
        )
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        body = request.model_dump_json().encode()
        return await self.invoke_through_sidecar(
            caller, invocation.app, "POST", invocation.path, body=body, headers=headers
        )

    async def sidecar_metrics(self, app: str) -> str:
        """What Prometheus would scrape."""
        _, metrics = await _ask("GET", f"http://127.0.0.1:{self._port(_DAPR_METRICS_PORT, app)}/metrics", b"", {})
        return metrics

    async def secret_through_sidecar(self, app: str, name: str) -> tuple[int, str]:
        return await self._ask_sidecar(app, "GET", f"/v1.0/secrets/secretstore/{name}")

    async def call_app(
        self, app: str, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The app's own port, past its sidecar."""
        return await _ask(method, f"http://127.0.0.1:{self._port(_APP_PORT, app)}{path}", body, headers or {})

    async def _ask_sidecar(
        self,
        app: str,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, str]:
        right_token = self._secrets[f"dapr-api-token-{app}"]
        url = f"http://127.0.0.1:{self._port(_DAPR_HTTP_PORT, app)}{path}"
        return await _ask(method, url, body, {**(headers or {}), "dapr-api-token": token or right_token})

    @property
    def _secrets(self) -> dict[str, str]:
        return cast("dict[str, str]", json.loads(self.layout.secrets_file.read_text()))

    def _port(self, base: int, app: str) -> int:
        return self.layout.port(base + APPS.index(app))

    def log(self, name: str) -> str:
        """What the process has logged so far."""
        return "".join(
            path.read_text(errors="replace") for path in sorted(self.layout.logs.glob(f"{name}.log*"), reverse=True)
        )

    def _run(self, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        verb, *rest = arguments
        place = ["--home", str(self.home), "--port-offset", str(self.layout.offset)]
        command = [sys.executable, "-m", "crewmesh_tools.mesh", verb, *place, *rest]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=seconds, check=False
        )


async def _ask(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWERED_WITHIN)) as session,
        session.request(method, URL(url, encoded=True), data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


def free_offset() -> int:
    """An offset at which no port of the mesh is taken."""
    return next(offset for offset in _OFFSETS if all(_is_free(port + offset) for port in _EVERY_PORT))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
