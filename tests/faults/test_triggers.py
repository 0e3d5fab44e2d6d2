"""Exactly one run per occurrence, whatever dies: deliveries of a webhook, and the ends of the runs they started."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
from crewmesh_testkit.mesh import MeshClient, MeshProcess
from crewmesh_testkit.polling import until

DELIVERIES, SENDERS = 120, 6
SEED = 7
# One after the other, while deliveries come in. A receiver of webhooks must bear all of them.
KILLED = ("workflow", "gateway", "workflow-dapr", "postgres", "gateway-dapr", "workflow", "valkey")
NODES = [{"id": "n", "kind": "transform", "output": {"number": "{{ trigger.data.body ?? 0 }}"}}]


async def save(client: MeshClient, *triggers: dict[str, object]) -> str:
    definition = {"name": f"Faulty {uuid4().hex[:6]}", "triggers": [*triggers], "nodes": NODES}
    made = await client.post("/v1/workflows", definition)
    assert made.status == 201, made.body
    return str(made.body["id"])


async def test_deliveries_while_everything_is_killed(mesh: MeshProcess) -> None:
    await mesh.until_ready()
    async with mesh.client() as client:
        first = await save(client, {"kind": "webhook", "id": "hook"})
        second = await save(client, {"kind": "run_ended", "workflow": first})
        (trigger,) = (await client.get(f"/v1/workflows/{first}/triggers")).body["items"]
        url = mesh.credentials.api_url + urlsplit(str(trigger["webhook"]["url"])).path
        numbers = iter(range(DELIVERIES))
        senders = [asyncio.create_task(deliver(url, numbers)) for _ in range(SENDERS)]
        await kill_all(mesh, random.Random(SEED), senders)
        told = {delivery: run for sender in senders for delivery, run in (await sender).items()}
        assert len(told) == len(set(told.values())) == DELIVERIES
        await mesh.until_ready()
        assert set(await ended(client, first, DELIVERIES)) == set(told.values())
        await ended(client, second, DELIVERIES)
        started_by = Counter([await run_that_ended(client, run) for run in await runs_of(client, second)])
        assert started_by == Counter(told.values()), "each end has its one run"


async def deliver(url: str, numbers: Iterator[int]) -> dict[str, str]:
    """Send one delivery after the other, each again until it is taken, and now and then once more."""
    taken: dict[str, str] = {}
    dice = random.Random(SEED)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        for number in numbers:
            delivery = f"d{number}"
            run = await until(lambda delivery=delivery: send(session, url, delivery), seconds=90, what="an answer")
            taken[delivery] = run
            if dice.random() < 0.3:
                again = await until(
                    lambda delivery=delivery: send(session, url, delivery), seconds=90, what="an answer"
                )
                assert again == run
            await asyncio.sleep(0.2)
    return taken


async def send(session: aiohttp.ClientSession, url: str, delivery: str) -> str | None:
    headers = {"webhook-id": delivery, "content-type": "application/json"}
    try:
        async with session.post(url, data=b"1", headers=headers, timeout=aiohttp.ClientTimeout(total=20)) as answer:
            return str((await answer.json())["run"]) if answer.status == 202 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


async def kill_all(mesh: MeshProcess, dice: random.Random, senders: list[asyncio.Task[dict[str, str]]]) -> None:
    for name in KILLED:
        await asyncio.sleep(dice.uniform(0.5, 3.0))
        assert not all(sender.done() for sender in senders), "the deliveries are over before the faults are"
        await asyncio.to_thread(mesh.kill, name)


async def runs_of(client: MeshClient, workflow: str) -> dict[str, str]:
    """The status of each run."""
    found = await client.try_get(f"/v1/runs?workflow={workflow}&limit=200")
    items: list[dict[str, object]] = [] if found is None or found.status != 200 else found.body["items"]
    return {str(run["id"]): str(run["status"]) for run in items}


async def ended(client: MeshClient, workflow: str, number: int) -> list[str]:
    """All runs of the workflow, when there are so many and all have completed."""

    async def all_ended() -> list[str] | None:
        runs = await runs_of(client, workflow)
        return list(runs) if len(runs) >= number and set(runs.values()) == {"completed"} else None

    return await until(all_ended, seconds=90, what=f"{number} completed runs")


async def run_that_ended(client: MeshClient, run: str) -> str:
    return str((await client.get(f"/v1/runs/{run}")).body["trigger"]["data"]["run"])
