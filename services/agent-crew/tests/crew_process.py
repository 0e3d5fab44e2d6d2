"""The service as a process of its own, to be killed: ``python crew_process.py``, told by its environment.

Its sidecar is a fake, so that nothing but the process itself is at stake. What its agents send goes to the receiver of
the test, with the key under which the far side would know it again.
"""

from __future__ import annotations

import json
import os

import aiohttp
from crewmesh_agent_crew.main import create_app
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.app import serve
from crewmesh_testkit.fake_sidecar import FakeSidecar
from fastapi import FastAPI


def app() -> FastAPI:
    sidecar = FakeSidecar("agent-crew", secrets=json.loads(os.environ["TEST_SECRETS"]))

    async def send(request: HttpSend) -> HttpReply:
        headers = {"idempotency-key": sidecar.calls[-1].idempotency_key or ""}
        url = os.environ["TEST_RECEIVER"]
        async with aiohttp.ClientSession() as session, session.post(url, json=request.body, headers=headers) as answer:
            return HttpReply(status=answer.status, headers={}, body=await answer.json())

    sidecar.answer(SEND_HTTP, send)
    return create_app(sidecar=sidecar)


if __name__ == "__main__":
    serve(app)
