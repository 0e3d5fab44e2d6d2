"""The policies of dapr-config/policies, seen at work between real sidecars."""

from __future__ import annotations

import asyncio
import re
from uuid import uuid4

from crewmesh_contracts.invocations import SEARCH, SearchRequest
from crewmesh_testkit.mesh import MeshProcess
from crewmesh_testkit.polling import until

OPEN = "circuit breaker is open"
QUESTION = SearchRequest(knowledge_base="handbook", query="What is a run?")


async def activations(mesh: MeshProcess, app: str, policy: str) -> float:
    """How often a policy of this kind has stepped in at the app's sidecar."""
    pattern = rf'dapr_resiliency_activations_total{{[^}}]*policy="{policy}"[^}}]*}}'
    return counted(await mesh.sidecar_metrics(app), pattern)


async def asked_again(mesh: MeshProcess, service: str) -> float:
    """How often the gateway itself repeated a request for this service, after its sidecar had."""
    _, metrics = await mesh.call_app("gateway", "GET", "/metrics")
    return counted(metrics, f'crewmesh_proxy_asked_again_total{{service="{service}"}}')


def counted(metrics: str, series: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{series} (\S+)$", metrics, re.M))


async def test_a_breaker_opens_on_a_service_that_is_down_and_closes_when_it_is_back(mesh: MeshProcess) -> None:
    await mesh.until_ready()
    assert (await mesh.call("workflow", SEARCH, QUESTION))[0] == 200

    async def opened() -> bool:
        # All at once: one after the other, the service would be back before the row of failures is long enough. Where
        # it was back all the same, it goes again.
        await asyncio.to_thread(mesh.kill, "knowledge")
        answers = await asyncio.gather(*(mesh.call("workflow", SEARCH, QUESTION) for _ in range(30)))
        return any(OPEN in body for _, body in answers)

    await until(opened, seconds=120, every=0, what="the circuit breaker to open")
    async with mesh.client() as client:
        answer = await client.get("/v1/runs?limit=1")
    assert answer.status == 200, "the breaker between two services concerns nobody else"

    async def closed() -> bool:
        return (await mesh.call("workflow", SEARCH, QUESTION))[0] == 200

    await until(closed, seconds=180, every=0.5, what="the circuit breaker to close again")
    assert await activations(mesh, "workflow", "circuitbreaker") > 0


async def test_a_lost_connection_is_tried_again(mesh: MeshProcess) -> None:
    await mesh.until_ready()
    before = await activations(mesh, "gateway", "retry")
    async with mesh.client() as client:

        async def answered() -> bool:
            answer = await client.get("/v1/knowledge-bases")
            assert answer.status in (200, 503), answer.body
            return answer.status == 200

        async def tried_again() -> bool:
            # Where it was back before it was asked, it goes again.
            await asyncio.to_thread(mesh.kill, "knowledge-dapr")
            await answered()
            return await activations(mesh, "gateway", "retry") > before

        await until(tried_again, seconds=120, what="a retry")
        await until(answered, seconds=120, every=0.5, what="an answer after a retry")


async def test_a_service_that_restarts_is_a_pause_at_the_edge(mesh: MeshProcess) -> None:
    await mesh.until_ready()
    before = await asked_again(mesh, "knowledge")
    async with mesh.client() as client:

        async def waited_for() -> bool:
            # Where it was back before it was asked, or only after it was waited for, it goes again.
            await asyncio.to_thread(mesh.kill, "knowledge")
            answer = await client.get("/v1/knowledge-bases")
            assert answer.status in (200, 503), answer.body
            return answer.status == 200 and await asked_again(mesh, "knowledge") > before

        await until(waited_for, seconds=240, what="an answer by the service after its restart")


async def test_no_answer_of_a_service_is_tried_again(mesh: MeshProcess) -> None:
    """Only a lost connection is: a 404 repeated three times would be three times the work for nothing."""
    await mesh.until_ready()
    before = await activations(mesh, "gateway", "retry")
    async with mesh.client() as client:
        for _ in range(5):
            assert (await client.get(f"/v1/runs/run_{uuid4().hex}")).status == 404
    assert await activations(mesh, "gateway", "retry") == before
