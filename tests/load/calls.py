"""What the way through the gateway and two sidecars adds to a call.

The same GET of the same run, at the same rate, in turns: through the public API with an API key, and straight to the
workflow service's port with the token that the gateway would have minted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

from crewmesh_kit.identity import Identity, TokenSigner
from crewmesh_testkit.mesh import APPS, MeshProcess
from crewmesh_testkit.polling import until

from tests.load.figures import Figure, at_most, median, percentile
from tests.load.generator import Phase, running_generator

PER_SECOND, SECONDS, REPEATS = 200.0, 4.0, 5
_WARM_UP_SECONDS = 3.0
_EVENT_TYPE = "bench.nothing.to.do"
# Without any effect: it has ended when its start is acknowledged.
_WORKFLOW: dict[str, object] = {
    "name": "Nothing to do",
    "triggers": [{"kind": "event", "type": _EVENT_TYPE}],
    "nodes": [{"id": "look", "kind": "transform", "output": {"number": "{{ trigger.data.number }}"}}],
    "output": {"number": "{{ trigger.data.number }}"},
}


async def measure_calls(mesh: MeshProcess) -> list[Figure]:
    run = await _finished_run(mesh)
    direct, gateway = _direct(mesh, run), _through_gateway(mesh, run)
    direct_ms: list[list[float]] = []
    gateway_ms: list[list[float]] = []
    async with running_generator() as generate:
        for phase in (direct, gateway):
            await generate(phase(_WARM_UP_SECONDS))
        for _ in range(REPEATS):
            direct_ms.append((await generate(direct(SECONDS))).milliseconds)
            gateway_ms.append((await generate(gateway(SECONDS))).milliseconds)
    return [_added(name, share, direct_ms, gateway_ms, limit) for name, share, limit in _ASKED]


_ASKED = (("gateway p50 added", 0.5, 3.0), ("gateway p99 added", 0.99, 12.0))


def _added(name: str, share: float, direct: list[list[float]], gateway: list[list[float]], limit: float) -> Figure:
    plain = [percentile(values, share) for values in direct]
    routed = [percentile(values, share) for values in gateway]
    print(
        f"  p{share * 100:.0f}: direct {median(plain):.2f} ms, through the gateway {median(routed):.2f} ms", flush=True
    )
    added = median(far - near for near, far in zip(plain, routed, strict=True))
    return Figure(name, added, "ms", baseline=median(plain), target=at_most(limit))


async def measure_authentication(mesh: MeshProcess) -> list[Figure]:
    """What it adds that the gateway knows who is asking, what they may do and how often they did.

    Both answers are ready in the gateway's memory; one of them is for everybody.
    """
    url = mesh.credentials.api_url.replace("localhost", "127.0.0.1")
    headers = {"authorization": f"Bearer {mesh.credentials.api_key}"}

    def open_to_all(seconds: float) -> Phase:
        return Phase(url=f"{url}/v1/auth/jwks", headers={}, per_second=PER_SECOND, seconds=seconds)

    def guarded(seconds: float) -> Phase:
        return Phase(url=f"{url}/v1/permissions", headers=headers, per_second=PER_SECOND, seconds=seconds)

    plain: list[list[float]] = []
    asked: list[list[float]] = []
    async with running_generator() as generate:
        for phase in (open_to_all, guarded):
            await generate(phase(_WARM_UP_SECONDS))
        for _ in range(REPEATS):
            plain.append((await generate(open_to_all(SECONDS))).milliseconds)
            asked.append((await generate(guarded(SECONDS))).milliseconds)
    return [_added("authentication p50 added", 0.5, plain, asked, 1.0)]


async def _finished_run(mesh: MeshProcess) -> str:
    event = {"specversion": "1.0", "id": "1", "source": "/bench", "type": _EVENT_TYPE, "data": {"number": 1}}
    async with mesh.client() as client:
        made = await client.post("/v1/workflows", _WORKFLOW)
        if made.status != 201:
            raise RuntimeError(f"the workflow was not accepted: {made.body}")
        run = str((await client.post("/v1/events", event)).body["runs"][0])

        async def completed() -> bool:
            return (await client.get(f"/v1/runs/{run}")).body.get("status") == "completed"

        await until(completed, seconds=20, what="the run without effects to end")
    return run


def _through_gateway(mesh: MeshProcess, run: str) -> Callable[[float], Phase]:
    # By address: looking up "localhost" would be part of what is measured.
    url = mesh.credentials.api_url.replace("localhost", "127.0.0.1")
    headers = {"authorization": f"Bearer {mesh.credentials.api_key}"}
    return lambda seconds: Phase(url=f"{url}/v1/runs/{run}", headers=headers, per_second=PER_SECOND, seconds=seconds)


def _direct(mesh: MeshProcess, run: str) -> Callable[[float], Phase]:
    known = cast("dict[str, str]", json.loads(mesh.layout.secrets_file.read_text()))
    signer = TokenSigner(known["identity-key-gateway"], app_id="gateway")
    identity = Identity(mesh.organization, "bench", frozenset({"runs:read"}))
    url = f"http://127.0.0.1:{mesh.layout.port(8080 + APPS.index('workflow'))}/v1/runs/{run}"

    def phase(seconds: float) -> Phase:
        headers = {
            "authorization": f"Bearer {signer.sign(identity, audience='workflow')}",
            "dapr-api-token": known["app-api-token-workflow"],
        }
        return Phase(url=url, headers=headers, per_second=PER_SECOND, seconds=seconds)

    return phase
