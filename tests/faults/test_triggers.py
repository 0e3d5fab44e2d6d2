"""Exactly one run per occurrence, whatever dies: deliveries of a webhook, and the ends of the runs they started."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Collection
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aiohttp
from crewmesh_testkit.mesh import MeshClient, MeshProcess
from crewmesh_testkit.polling import until

SENDERS = 6
# At least; they go on for as long as something is killed.
DELIVERIES_EACH = 20
SEED = 7
# One after the other, while deliveries come in. A receiver of webhooks must bear all of them.
KILLED = ("workflow", "gateway", "workflow-dapr", "postgres", "gateway-dapr", "workflow", "valkey")
NODES = [{"id": "n", "kind": "transform", "output": {"number": "{{ trigger.data.body ?? 0 }}"}}]
_TAKEN_WITHIN, _ENDED_WITHIN = 240.0, 240.0


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
        (trigger,) = (await client.read(f"/v1/workflows/{first}/triggers"))["items"]
        url = mesh.credentials.api_url + urlsplit(str(trigger["webhook"]["url"])).path
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            senders = [group.create_task(deliver(url, sender, over)) for sender in range(SENDERS)]
            await kill_all(mesh, random.Random(SEED))
            over.set()
        told = {delivery: run for sender in senders for delivery, run in sender.result().items()}
        shared = [run for run, times in Counter(told.values()).items() if times > 1]
        assert shared == [], f"deliveries share a run: {told}"
        await mesh.until_ready()
        runs = await ended(mesh, client, first, told)
        assert runs == set(told.values()), f"{len(runs)} runs of {len(told)} deliveries"
        await each_end_has_its_run(mesh, client, second, runs)


async def deliver(url: str, sender: int, over: asyncio.Event) -> dict[str, str]:
    """Send one delivery after the other, each again until it is taken, and now and then once more."""
    taken: dict[str, str] = {}
    dice = random.Random(f"{SEED}/{sender}")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        while not over.is_set() or len(taken) < DELIVERIES_EACH:
            delivery = f"d{sender}-{len(taken)}"
            taken[delivery] = await until_taken(session, url, delivery)
            if dice.random() < 0.3:
                again = await until_taken(session, url, delivery)
                assert again == taken[delivery], f"{delivery} is told of {taken[delivery]}, then of {again}"
            await asyncio.sleep(0.2)
    return taken


async def until_taken(session: aiohttp.ClientSession, url: str, delivery: str) -> str:
    """The run that the delivery is told of."""
    heard: Counter[str] = Counter()

    async def sent() -> str | None:
        run, said = await send(session, url, delivery)
        heard[said] += 1
        return run

    what = f"{delivery} to be taken"
    return await until(sent, seconds=_TAKEN_WITHIN, every=0.1, what=lambda: f"{what}; it was told {dict(heard)}")


async def send(session: aiohttp.ClientSession, url: str, delivery: str) -> tuple[str | None, str]:
    """The run, if the delivery is taken, and what was said."""
    headers = {"webhook-id": delivery, "content-type": "application/json"}
    try:
        async with session.post(url, data=b"1", headers=headers, timeout=aiohttp.ClientTimeout(total=20)) as answer:
            if answer.status == 202:
                return str((await answer.json())["run"]), "202"
            return None, f"{answer.status} {(await answer.text())[:200]}"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return None, type(error).__name__


async def kill_all(mesh: MeshProcess, dice: random.Random) -> None:
    for name in KILLED:
        await asyncio.sleep(dice.uniform(0.5, 3.0))
        await asyncio.to_thread(mesh.kill, name)


async def runs_of(client: MeshClient, workflow: str) -> dict[str, str]:
    """The status of each run."""
    found: dict[str, str] = {}
    cursor = ""
    while True:
        page = await client.read(f"/v1/runs?workflow={workflow}&limit=200{cursor}")
        found |= {str(run["id"]): str(run["status"]) for run in page["items"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={quote(str(page['next_cursor']), safe='')}"


async def ended(mesh: MeshProcess, client: MeshClient, workflow: str, told: dict[str, str]) -> set[str]:
    """All runs of the workflow, when every delivery has its own and all have completed."""
    seen: dict[str, str] = {}

    async def all_ended() -> bool:
        seen.update(await runs_of(client, workflow))
        return seen.keys() >= set(told.values()) and set(seen.values()) == {"completed"}

    def how_far() -> str:
        missing = {delivery: run for delivery, run in told.items() if run not in seen}
        left = {run: status for run, status in seen.items() if status != "completed"}
        return f"{len(told)} completed runs; not there: {missing}, not completed: {left}\n{mesh.late()}"

    await until(all_ended, seconds=_ENDED_WITHIN, every=0.5, what=how_far)
    return set(seen)


async def each_end_has_its_run(mesh: MeshProcess, client: MeshClient, workflow: str, ends: Collection[str]) -> None:
    """Each of these ends of runs has started one run of the workflow, and it has completed."""
    seen: dict[str, str] = {}
    started_by: dict[str, str] = {}

    async def all_there() -> bool:
        seen.update(await runs_of(client, workflow))
        for run in seen.keys() - started_by.keys():
            shown = await client.read(f"/v1/runs/{run}")
            started_by[run] = str(shown["trigger"]["data"]["run"])
        return set(started_by.values()) >= set(ends) and set(seen.values()) == {"completed"}

    def how_far() -> str:
        missing = set(ends) - set(started_by.values())
        left = {run: status for run, status in seen.items() if status != "completed"}
        return (
            f"a completed run for each of {len(ends)} ends; none for: {missing}, not completed: {left}\n{mesh.late()}"
        )

    await until(all_there, seconds=_ENDED_WITHIN, every=0.5, what=how_far)
    assert Counter(started_by.values()) == Counter(ends), "each end has its one run"
