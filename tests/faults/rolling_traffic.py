"""Runs of five effects and reads of every service, at a steady rate, and what came of each as seen from outside.

A caller takes any gateway that is ready, on a new connection, and another one where a connection is refused: nothing
was sent by then. What may have been done is not tried again; it counts as failed.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
from crewmesh_kit.signals import cancelled
from crewmesh_testkit.mesh import READS, JsonDict
from crewmesh_testkit.receiver import Received, Receiver, Reply

from tests.faults.rolling_cluster import Cluster
from tests.faults.workload import chain, deliver
from tests.faults.world import effect_of
from tests.load.figures import percentile

EFFECTS = tuple(f"deliver-{number}" for number in range(5))
_ROUNDS, _BETWEEN_ROUNDS_SECONDS = 20, 0.1
_ANSWERED_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``trouble`` says what came instead of the answer that was due."""

    at: float
    what: str
    seconds: float
    trouble: str | None


@dataclass(slots=True)
class Seen:
    """Everything there was to see. Times are those of ``time.monotonic``."""

    asked: list[Asked] = field(default_factory=list["Asked"])
    started: dict[str, float] = field(default_factory=dict[str, float])
    arrived: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def failed(self, since: float = 0.0) -> list[Asked]:
        return [each for each in self.asked if each.trouble is not None and each.at >= since]

    def p95_of_requests(self, since: float, until: float) -> float:
        return percentile([each.seconds for each in self.asked if since <= each.at < until], 0.95)

    def p95_of_runs(self, since: float, until: float) -> float:
        """From asking for a run to its last effect."""
        last = f"/{EFFECTS[-1]}"
        took = [
            self.arrived[run + last][0] - at
            for run, at in self.started.items()
            if since <= at < until and run + last in self.arrived
        ]
        return percentile(took, 0.95)

    def lost(self) -> set[str]:
        """Effects of acknowledged runs that never came."""
        return {f"{run}/{effect}" for run in self.started for effect in EFFECTS} - set(self.arrived)

    def repeated(self) -> set[str]:
        return {effect for effect, times in self.arrived.items() if len(times) > 1}


class Traffic:
    """Between ``open`` and its end requests can be made; between those of ``flowing`` they are, all the time."""

    def __init__(self, cluster: Cluster, api_key: str) -> None:
        self.seen = Seen()
        self._cluster = cluster
        self._headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        patience = aiohttp.ClientTimeout(total=_ANSWERED_WITHIN)
        async with (
            Receiver(reply=self._arrived) as receiver,
            aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=patience) as self._session,
        ):
            nodes = [deliver(id_, receiver.url("/effects")) for id_ in EFFECTS]
            status, made = await self._request(
                "POST", "/v1/workflows", {"name": "Rolling", "nodes": nodes, "edges": chain(*EFFECTS)}
            )
            assert status == 201, made
            self._start = f"/v1/workflows/{made['id']}/runs"
            yield

    @asynccontextmanager
    async def flowing(self, rate: float) -> AsyncGenerator[None]:
        """So many runs a second and as many reads, whether or not earlier ones have been answered."""
        flow = asyncio.create_task(self._flow(rate))
        try:
            yield
        finally:
            await cancelled([flow])
            await asyncio.gather(*self._tasks)

    async def _flow(self, rate: float) -> None:
        due = time.monotonic()
        number = 0
        while True:
            for work in (self._run(number), self._read(READS[number % len(READS)])):
                task = asyncio.create_task(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            number += 1
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _run(self, number: int) -> None:
        at = time.monotonic()
        made = await self._counted("POST", self._start, 201, {"input": {"subject": number}})
        if made is not None:
            self.seen.started[str(made["id"])] = at

    async def _read(self, path: str) -> None:
        await self._counted("GET", path, 200)

    async def _counted(self, method: str, path: str, due: int, document: JsonDict | None = None) -> JsonDict | None:
        at = time.monotonic()
        trouble, body = None, {}
        try:
            status, body = await self._request(method, path, document)
            trouble = None if status == due else f"{status} {json.dumps(body)[:300]}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            trouble = repr(error)
        self.seen.asked.append(Asked(at, f"{method} {path}", time.monotonic() - at, trouble))
        return body if trouble is None else None

    async def _request(self, method: str, path: str, document: JsonDict | None = None) -> tuple[int, JsonDict]:
        headers = {} if document is None else {"idempotency-key": uuid4().hex}
        for _ in range(_ROUNDS):
            gateways = self._cluster.gateways
            for gateway in random.sample(gateways, len(gateways)):
                try:
                    async with self._session.request(method, gateway + path, json=document, headers=headers) as answer:
                        return answer.status, await answer.json(content_type=None)
                except aiohttp.ClientConnectorError:
                    continue
            await asyncio.sleep(_BETWEEN_ROUNDS_SECONDS)
        raise aiohttp.ClientConnectionError("no gateway takes connections")

    def _arrived(self, received: Received) -> Reply:
        self.seen.arrived.setdefault(effect_of(received.key), []).append(time.monotonic())
        return Reply()
