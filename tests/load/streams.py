"""Following runs live: hundreds of followers of one run, of whom some never read, and how late the others hear of it.

The baseline is one follower alone, in the same run of the benchmark.
"""

from __future__ import annotations

from itertools import pairwise

from crewmesh_testkit.mesh import MeshProcess
from yarl import URL

from tests.load.figures import Figure, at_most, percentile
from tests.load.followers import Crowd, following

_FOLLOWERS, _SILENT = 500, 50
_TICKS, _BETWEEN_SECONDS = 12, 1.0
_LIMIT_MS = 250.0
_GO = "bench.go"
_STEPS = [f"step{number}" for number in range(5)]
# Some steps at once, and a pause.
_TICK: dict[str, object] = {
    "nodes": [
        {"id": "pause", "kind": "delay", "seconds": _BETWEEN_SECONDS},
        *({"id": step, "kind": "transform", "output": {"n": "{{ index }}"}} for step in _STEPS),
    ],
    "edges": [{"from": before, "to": after} for before, after in pairwise(["pause", *_STEPS])],
}
# It waits until everybody follows it.
_TICKING: dict[str, object] = {
    "name": "Ticking",
    "nodes": [
        {"id": "go", "kind": "wait_event", "type": _GO, "key": "{{ run.id }}"},
        {"id": "ticks", "kind": "for_each", "items": list(range(_TICKS)), "body": _TICK, "concurrency": 1},
    ],
    "edges": [{"from": "go", "to": "ticks"}],
}


async def measure_streams(mesh: MeshProcess) -> list[Figure]:
    async with mesh.client() as client:
        made = await client.post("/v1/workflows", _TICKING)
        if made.status != 201:
            raise RuntimeError(f"the workflow was not accepted: {made.body}")
    alone = await _delays(mesh, made.body["id"], readers=1, silent=0)
    many = await _delays(mesh, made.body["id"], readers=_FOLLOWERS - _SILENT, silent=_SILENT)
    late = percentile(many, 0.99)
    print(f"  {len(many)} deliveries: p50 {percentile(many, 0.5):.0f} ms, p99 {late:.0f} ms", flush=True)
    return [
        Figure("stream p99 with 500 followers", late, "ms", baseline=percentile(alone, 0.99), target=at_most(_LIMIT_MS))
    ]


async def _delays(mesh: MeshProcess, workflow: str, *, readers: int, silent: int) -> list[float]:
    api = URL(mesh.credentials.api_url)
    async with mesh.client() as client:
        run = (await client.post(f"/v1/workflows/{workflow}/runs", {"input": {}})).body["id"]
        crowd = Crowd(
            host="127.0.0.1",
            port=api.port or 80,
            path=f"/v1/runs/{run}/events",
            headers={"authorization": f"Bearer {mesh.credentials.api_key}"},
            readers=readers,
            silent=silent,
        )
        async with following(crowd) as followers:
            event = {"specversion": "1.0", "id": run, "source": "/bench", "type": _GO, "subject": run}
            await client.post("/v1/events", event)
            seen = await followers.seen()
    if seen.unequal:
        raise RuntimeError(f"{seen.unequal} of {readers} followers missed something")
    return seen.milliseconds
