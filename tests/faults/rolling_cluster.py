"""What Kubernetes does around two replicas of each service, for a mesh on one machine.

A replica is an app with its sidecar, as a pod is. Who is ready takes calls; who is to leave first takes none, then
waits until every sidecar has forgotten its address (``preStop``), then ends, app before sidecar, and comes back.
Sidecars find each other as they do there: see crewmesh_tools.mesh.replicas.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.signals import cancelled
from crewmesh_testkit.mesh import MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_tools.mesh.apps import sidecar_name
from crewmesh_tools.mesh.daprfile import App, read_dapr_file
from crewmesh_tools.mesh.probes import NO_ANSWER, http_check
from crewmesh_tools.mesh.replicas import with_replicas, write_endpoints
from crewmesh_tools.mesh.state import ProcessStatus, read_status

from tests.rules.repository import ROOT

REPLICAS = 2
# How long one that leaves goes on as if nothing were (preStop).
LEAVING_SECONDS = float(re.findall(r"time\.sleep\((\d+)\)", (ROOT / "k8s/base/patches/service.yaml").read_text())[0])
_LOOK_EVERY_SECONDS = 1.0
# Looks in a row, as the cluster has a failureThreshold: one that is only slow to answer goes on taking calls.
_MISSED_AT_MOST = 4
_ENDED_WITHIN, _BACK_WITHIN = 120.0, 240.0


class Cluster:
    """While it is ``watching``, replicas can be ended by their names, such as ``workflow`` and ``workflow-2``."""

    def __init__(self, mesh: MeshProcess) -> None:
        self._layout = mesh.layout
        self._apps = with_replicas(read_dapr_file(mesh.layout.dapr_file), REPLICAS)
        self._leaving: set[str] = set()
        self._ready: set[str] = set()
        self._missed: Counter[str] = Counter()

    @property
    def names(self) -> list[str]:
        """The replicas, each service's first one, then each one's second."""
        return [app.name for app in self._apps]

    @property
    def gateways(self) -> list[str]:
        """Where those listen that take requests now."""
        ports = [app.app_port for app in self._apps if app.app_id == "gateway" and app.name in self._ready]
        return [f"http://127.0.0.1:{self._layout.port(port)}" for port in ports]

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """From the moment on when all are ready."""
        task = asyncio.create_task(self._watch())
        try:
            await until(
                lambda: self._ready == set(self.names),
                seconds=_BACK_WITHIN,
                every=0.2,
                what="every replica to be ready",
            )
            yield
        finally:
            await cancelled([task])

    async def restart(self, *names: str) -> None:
        """They are told to leave together and end one after another; each is back before the next one ends."""
        self._leaving.update(names)
        await self._look()
        await asyncio.sleep(LEAVING_SECONDS)
        for name in names:
            app, sidecar = self._process(name), self._process(sidecar_name(name))
            await _end(app)
            await _end(sidecar)
            self._leaving.discard(name)
            await self._back(name, app, sidecar)

    async def kill(self, *processes: str) -> None:
        """At the same time, with SIGKILL; until they are back."""
        killed = [self._process(name) for name in processes]
        for process in killed:
            os.kill(_pid(process), signal.SIGKILL)
        await self._back(processes[0].removesuffix("-dapr"), *killed)

    async def _back(self, name: str, *gone: ProcessStatus) -> None:
        def is_back() -> bool:
            now = [self._process(process.name) for process in gone]
            fresh = all(process.pid not in (None, old.pid) for process, old in zip(now, gone, strict=True))
            return fresh and name in self._ready and all(process.state == "ready" for process in now)

        await until(is_back, seconds=_BACK_WITHIN, every=0.2, what=f"{name} to be back")

    async def _watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _look(self) -> None:
        ready = await asyncio.gather(*(self._is_ready(app) for app in self._apps))
        self._ready = {app.name for app, yes in zip(self._apps, ready, strict=True) if yes} - self._leaving
        write_endpoints(self._layout, self._apps, ready=lambda app: app.name in self._ready)

    async def _is_ready(self, app: App) -> bool:
        reason = await http_check(self._layout.port(app.app_port), "/readyz")()
        self._missed[app.name] = 0 if reason is None else self._missed[app.name] + 1
        return reason is None or (
            reason == NO_ANSWER and app.name in self._ready and self._missed[app.name] <= _MISSED_AT_MOST
        )

    def _process(self, name: str) -> ProcessStatus:
        status = read_status(self._layout.state_file)
        assert status is not None
        return status.process(name)


async def _end(process: ProcessStatus) -> None:
    """As a rollout does: SIGTERM, then as long as it takes."""
    pid = _pid(process)
    os.kill(pid, signal.SIGTERM)
    await until(lambda: not _exists(pid), seconds=_ENDED_WITHIN, every=0.02, what=f"{process.name} to end")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _pid(process: ProcessStatus) -> int:
    assert process.pid is not None, f"{process.name} is not running"
    return process.pid
