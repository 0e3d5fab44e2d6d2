"""What dashboards and alerts ask for is what the running mesh tells: every port is asked, after some work."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Iterable
from uuid import uuid4

from crewmesh_contracts.invocations import SEARCH, SearchRequest
from crewmesh_testkit.mesh import APPS, MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_tools.mesh import layout

from tests.contract.known_metrics import OF_DAPR
from tests.contract.test_observability import names_in, queries, recorded

_CONTROL_PLANE = (layout.SENTRY_METRICS, layout.PLACEMENT_METRICS, layout.SCHEDULER_METRICS)
# Ends that a series of a metric has beside the metric's name.
_ENDS = re.compile(r"_(?:bucket|sum|count)$")


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def told_in(pages: Iterable[str]) -> set[str]:
    """Names of metrics, also of those that have counted nothing yet."""
    return {name for page in pages for name in re.findall(r"^# TYPE (\S+) ", page, re.M)}


async def _pages(mesh: MeshProcess) -> list[str]:
    services = [(await mesh.call_app(app, "GET", "/metrics"))[1] for app in APPS]
    sidecars = [await mesh.sidecar_metrics(app) for app in APPS]
    ports = [mesh.layout.port(port) for port in _CONTROL_PLANE]
    return [
        *services,
        *sidecars,
        *await asyncio.gather(*(asyncio.to_thread(_read, f"http://127.0.0.1:{port}/metrics") for port in ports)),
    ]


async def _some_work(mesh: MeshProcess) -> None:
    event = {"specversion": "1.0", "id": uuid4().hex, "source": "/tests", "type": "com.example.question.asked"}
    async with mesh.client() as client:
        answer = await client.post("/v1/events", {**event, "data": {"question": "What is a run?"}})
    assert answer.status == 202, answer.body
    status, body = await mesh.call("workflow", SEARCH, SearchRequest(knowledge_base="handbook", query="What is a run?"))
    assert status == 200, body
    assert (await mesh.invoke_through_sidecar("workflow", "integration", "GET", "/metrics"))[0] == 403


async def test_dashboards_and_alerts_ask_for_what_the_mesh_tells(mesh: MeshProcess) -> None:
    await mesh.until_ready()
    await _some_work(mesh)
    ours = {name for query in queries() for name in names_in(query)} - recorded()
    # What counts runs, events and refusals by kinds exists from the first one on.
    wanted = {name for name in ours if name.startswith("crewmesh_") and "backup" not in name} | OF_DAPR

    async def missing() -> set[str]:
        told = told_in(await _pages(mesh))
        return {name for name in wanted if name not in told and _ENDS.sub("", name) not in told}

    lacking = wanted

    async def nothing_lacks() -> bool:
        nonlocal lacking
        lacking = await missing()
        return not lacking

    try:
        await until(nothing_lacks, seconds=120, every=1, what="the metrics")
    except AssertionError as error:
        raise AssertionError(f"nobody tells {sorted(lacking)}") from error


async def test_sidecars_are_connected_as_the_alerts_want_it(mesh: MeshProcess) -> None:
    """These alerts wake somebody when the sum is 0: in a mesh that is well it is not."""
    await mesh.until_ready()

    async def connected() -> bool:
        pages = "\n".join(await _pages(mesh))
        return all(
            sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", pages, re.M)) > 0
            for name in ("dapr_placement_actor_runtimes_total", "dapr_scheduler_sidecars_connected")
        )

    await until(connected, seconds=120, every=1, what="workers and sidecars to be counted")
