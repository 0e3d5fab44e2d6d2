"""The first proof of durability: fifty runs in flight, one process killed without warning, nothing lost, nothing twice.

Each run calls a receiver five times. The receiver counts requests per ``webhook-id``, which is the effect's idempotency
key, so "exactly once" is what the other side of the wire saw and not what our own tables say.
"""

from __future__ import annotations

import asyncio
import os
import random

import pytest
from crewmesh_testkit.mesh import MeshClient, MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_testkit.receiver import Receiver

RUNS = 50
EFFECTS = 5
SEED = int(os.environ.get("CREWMESH_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)


def five_deliveries(event_type: str, url: str) -> dict[str, object]:
    nodes = [
        {"id": f"deliver-{n}", "kind": "http", "url": url, "body": {"effect": n, "subject": "{{ trigger.subject }}"}}
        for n in range(EFFECTS)
    ]
    edges = [{"from": f"deliver-{n}", "to": f"deliver-{n + 1}"} for n in range(EFFECTS - 1)]
    return {
        "name": f"Five deliveries for {event_type}",
        "triggers": [{"kind": "event", "type": event_type}],
        "nodes": nodes,
        "edges": edges,
        "output": {"last": "{{ steps.deliver-4.output.status }}"},
    }


async def start_run(client: MeshClient, event_type: str, number: int) -> str:
    """Publish until acknowledged, as a careful producer does: the same event again never starts a second run."""
    event = {
        "specversion": "1.0",
        "id": f"fault-{number}",
        "source": "/faults",
        "type": event_type,
        "subject": str(number),
    }

    async def acknowledged() -> str | None:
        answer = await client.try_post("/v1/events", event)
        if answer is None or answer.status >= 500:
            return None
        assert answer.status == 202, answer.body
        (run,) = answer.body["runs"]
        return str(run)

    return await until(acknowledged, seconds=90, what=f"event {number} acknowledged")


async def all_ended(client: MeshClient, runs: list[str]) -> dict[str, str]:
    """Run id → final status, once no run is left in flight."""

    async def ended() -> dict[str, str] | None:
        answers = await asyncio.gather(*(client.try_get(f"/v1/runs/{run}") for run in runs))
        heard = {run: answer.body for run, answer in zip(runs, answers, strict=True) if answer and answer.status == 200}
        assert all("status" in detail for detail in heard.values()), heard
        statuses = {run: str(detail["status"]) for run, detail in heard.items()}
        return statuses if len(statuses) == len(runs) and "running" not in statuses.values() else None

    return await until(ended, seconds=180, every=1.0, what=f"{len(runs)} runs ended")


@pytest.mark.parametrize("victim", ["workflow", "workflow-dapr", "scheduler", "postgres"])
async def test_a_killed_process_loses_nothing_and_repeats_nothing(mesh: MeshProcess, victim: str) -> None:
    await mesh.until_ready()
    dice = random.Random(f"{SEED}/{victim}")
    kill_after = dice.randrange(10, RUNS * EFFECTS - 60)
    print(f"seed {SEED}: kill -9 {victim} after {kill_after} effects (repeat with CREWMESH_FAULT_SEED={SEED})")
    event_type = f"test.fault.{victim}.{SEED}"
    async with Receiver(delay=lambda: dice.uniform(0.05, 0.4)) as receiver, mesh.client() as client:
        await client.post("/v1/workflows", five_deliveries(event_type, receiver.url("/effects")))
        starts = [asyncio.create_task(start_run(client, event_type, number)) for number in range(RUNS)]
        await until(lambda: len(receiver.requests) >= kill_after, seconds=90, every=0.01, what=f"{kill_after} effects")
        killed_at = asyncio.get_running_loop().time()
        mesh.kill(victim)
        runs = await asyncio.gather(*starts)
        statuses = await all_ended(client, runs)
        print(f"{victim}: all ended {asyncio.get_running_loop().time() - killed_at:.1f} s after the kill")

    assert len(set(runs)) == RUNS
    assert set(statuses.values()) == {"completed"}
    effects = receiver.counts_by_key()
    assert set(effects) == {f"{run}/deliver-{n}/0" for run in runs for n in range(EFFECTS)}
    assert {key: count for key, count in effects.items() if count != 1} == {}
