"""Five nodes without effects, started by a webhook of the mesh and answered when they are done.

The request takes the whole way: gateway, two sidecars, the workflow service as it runs in the mesh.
"""

from __future__ import annotations

import json
from typing import cast

from crewmesh_testkit.mesh import JsonDict, MeshClient
from crewmesh_tools.mesh.layout import Layout

from tests.load.generator import Crowd, Generate
from tests.load.results import Round

_CLIENTS, _SECONDS, _WARM_UP_SECONDS = 16, 3.0, 2.0
_BODY = json.dumps({"number": 7, "name": "bench"})
PURE: JsonDict = {
    "name": "Five pure nodes",
    "triggers": [{"kind": "webhook", "id": "hook", "respond": "when_done"}],
    "nodes": [
        {"id": "shape", "kind": "transform", "output": {"number": "{{ trigger.data.body.number }}"}},
        {"id": "large", "kind": "if", "condition": "steps.shape.output.number > 5"},
        {"id": "keep", "kind": "set", "variables": {"number": "{{ steps.shape.output.number }}"}},
        {"id": "greet", "kind": "transform", "output": {"text": "Hello {{ trigger.data.body.name }}"}},
        {"id": "whole", "kind": "transform", "output": {"text": "{{ steps.greet.output.text }}: {{ vars.number }}"}},
    ],
    "edges": [
        {"from": "shape", "to": "large"},
        {"from": "large", "port": "true", "to": "keep"},
        {"from": "keep", "to": "greet"},
        {"from": "greet", "to": "whole"},
    ],
    "output": {"text": "{{ steps.whole.output.text }}"},
}


class WebhookSide:
    def __init__(self, url: str, generate: Generate) -> None:
        self._url = url
        self._generate = generate

    async def warm_up(self) -> None:
        await self._crowd(_WARM_UP_SECONDS)

    async def round(self) -> Round:
        return await self._crowd(_SECONDS)

    async def _crowd(self, seconds: float) -> Round:
        crowd = Crowd(url=self._url, body=_BODY, clients=_CLIENTS, seconds=seconds)
        measured = await self._generate(crowd)
        times = measured.milliseconds
        return Round(loaded=times, runs_per_second=len(times) / measured.seconds)


async def open_webhook(layout: Layout, generate: Generate) -> WebhookSide:
    known = cast("dict[str, str]", json.loads(layout.credentials_file.read_text()))
    async with MeshClient(known["api_url"], known["api_key"]) as client:
        url = await hook_of(client, known["api_url"], PURE)
    return WebhookSide(url, generate)


async def hook_of(client: MeshClient, api_url: str, definition: JsonDict) -> str:
    """Save the workflow; where its webhook is. By address: looking up "localhost" would be part of what is measured."""
    made = await client.post("/v1/workflows", definition)
    if made.status != 201:
        raise RuntimeError(f"the workflow was not accepted: {made.body}")
    (trigger,) = (await client.get(f"/v1/workflows/{made.body['id']}/triggers")).body["items"]
    path = str(trigger["webhook"]["url"]).removeprefix(api_url)
    return api_url.replace("localhost", "127.0.0.1") + path
