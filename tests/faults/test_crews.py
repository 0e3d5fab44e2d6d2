"""Crews at work while the mesh breaks: all end, no paid call is repeated, no effect comes twice, the books agree.

A mesh of its own, whose model is a fake in this process that counts what it answered. An answer may be given again only
if whoever asked for it died, or could write nothing down, while it was on its way.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from crewmesh_testkit.counted_model import CALLS_OF_A_PART, CountedModel, crew_of_parts
from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_testkit.receiver import Receiver

from tests.faults.breakage import FAULTS
from tests.faults.trial import SEED

CREWS = 8
PARTS = 3
# One after the other, each in the middle of eight crews.
BREAKAGES = ("kill agent-crew", "kill agent-crew-dapr", "kill workflow", "kill postgres")
_ENDED_WITHIN = 300.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o711)  # PostgreSQL may run as another account, which must find its data
    return tmp_path


async def test_crews_outlive_whatever_breaks(home: Path) -> None:
    async with CountedModel(api_key="any", delay=0.4) as model, Receiver(delay=lambda: 0.2) as receiver:
        mesh = MeshProcess(home, environment={"CREWMESH_MODEL__URL": model.url, "CREWMESH_MODEL__API_KEY": "any"})
        await asyncio.to_thread(mesh.start)
        try:
            async with mesh.client() as client:
                await _install(client, receiver)
                for fault in BREAKAGES:
                    await mesh.until_ready()
                    await _trial(mesh, client, model, receiver, fault)
        finally:
            await asyncio.to_thread(mesh.stop)


async def _install(client: MeshClient, receiver: Receiver) -> None:
    made = await client.post("/v1/crews", crew_of_parts("senders", PARTS, receiver.url("/in")))
    assert made.status == 201, made.body
    think = {"id": "think", "kind": "crew", "crew": "senders", "inputs": {"crew": "{{ trigger.data.crew }}"}}
    workflow = {"name": "Crews", "slug": "crews", "nodes": [think], "output": {"said": "{{ steps.think.output.text }}"}}
    made = await client.post("/v1/workflows", workflow)
    assert made.status == 201, made.body


async def _trial(mesh: MeshProcess, client: MeshClient, model: CountedModel, receiver: Receiver, fault: str) -> None:
    model.answered.clear()
    receiver.requests.clear()
    tag = fault.replace(" ", "-")
    runs = await asyncio.gather(*(_begin(client, f"{tag}-{number}") for number in range(CREWS)))
    breaks_after = 4 + (SEED + len(fault)) % 20
    await until(lambda: len(model.answered) >= breaks_after, seconds=240, every=0.01, what="enough answers")
    began = time.monotonic()
    await FAULTS[fault](mesh, random.Random(SEED))
    await mesh.until_ready()
    over = time.monotonic()
    ends = await asyncio.gather(*(_ended(client, run) for run in runs))
    what = f"{fault}, CREWMESH_FAULT_SEED={SEED}, after {breaks_after} answers"
    assert {end["status"] for end in ends} == {"completed"}, what
    assert len(model.answered) == CREWS * PARTS * CALLS_OF_A_PART, what
    assert _paid_twice(model, began, over) == {}, what
    effects = Counter(received.body for received in receiver.requests)
    assert (len(effects), max(effects.values())) == (CREWS * PARTS, 1), f"{what}: {effects}"
    for end in ends:
        assert end["usage"]["requests"] == PARTS * CALLS_OF_A_PART, what


def _paid_twice(model: CountedModel, began: float, over: float) -> dict[str, list[float]]:
    """Calls that were answered again, beside those whose answer may have been lost.

    That is one that was given while it was broken, or before, if its crew had not gone on with it by then.
    """

    def gone_on_with(call: str, given: float) -> bool:
        of_crew = call.partition(",")[0] + ","
        others = (times for other, times in model.answered.items() if other != call and other.startswith(of_crew))
        return any(given < time_ < began for times in others for time_ in times)

    def may_be_lost(call: str, given: float) -> bool:
        return given < over + 1.0 and not gone_on_with(call, given)

    return {
        call: times
        for call, times in model.answered.items()
        if not all(may_be_lost(call, given) for given in times[:-1])
    }


async def _begin(client: MeshClient, crew: str) -> str:
    async def acknowledged() -> str | None:
        answer = await client.try_post(
            "/v1/workflows/crews/runs", {"input": {"crew": crew}}, {"idempotency-key": f"begin {crew}"}
        )
        return None if answer is None or answer.status >= 500 else str(answer.body["id"])

    return await until(acknowledged, seconds=240, every=0.2, what="a start that is acknowledged")


async def _ended(client: MeshClient, run: str) -> JsonDict:
    async def ended() -> JsonDict | None:
        answer = await client.try_get(f"/v1/runs/{run}")
        if answer is None or answer.status != 200 or answer.body["status"] not in ("completed", "failed", "cancelled"):
            return None
        return answer.body

    return await until(ended, seconds=_ENDED_WITHIN, every=0.5, what=f"{run} to end")
