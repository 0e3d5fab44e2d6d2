"""People decide through the gateway, with a key or with nothing but a link, and a driver that slept goes on."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from crewmesh_testkit.mesh import MeshClient, MeshProcess
from crewmesh_testkit.mesh_client import ApiAnswer, JsonDict
from crewmesh_testkit.polling import until

DEFINITION: JsonDict = {
    "name": "ask first",
    "nodes": [
        {"id": "ask", "kind": "approval", "title": "Pay {{ trigger.data.amount }} €?", "data": "{{ trigger.data }}"},
        {"id": "paid", "kind": "transform", "output": {"amount": "{{ steps.ask.output.data.amount }}"}},
    ],
    "edges": [{"from": "ask", "port": "approved", "to": "paid"}],
    "output": {"amount": "{{ steps.paid.output.amount ?? 0 }}"},
}
PAGE = {"accept": "text/html,application/xhtml+xml", "content-type": "application/x-www-form-urlencoded"}


async def begin(client: MeshClient) -> tuple[str, str]:
    """A run that waits, and what it asks."""
    workflow = await client.post("/v1/workflows", DEFINITION)
    assert workflow.status == 201, workflow.body
    started = await client.post(f"/v1/workflows/{workflow.body['id']}/runs", {"input": {"amount": 120}})
    assert started.status in (201, 202), started.body
    run = str(started.body["id"])

    async def asked() -> str | None:
        found = (await client.get(f"/v1/approvals?run={run}")).body["items"]
        return str(found[0]["id"]) if found else None

    return run, await until(asked, seconds=120, what=f"a question of {run}")


async def end(client: MeshClient, run: str) -> JsonDict:
    async def ended() -> JsonDict | None:
        found = (await client.get(f"/v1/runs/{run}")).body
        return found if found["finished_at"] else None

    return await until(ended, seconds=120, what=f"the end of {run}")


async def anonymously(client: MeshClient, method: str, path: str, body: bytes | None = None) -> ApiAnswer:
    return await client.request(method, path, body=body, headers=PAGE)


@pytest.mark.parametrize(("decision", "amount"), [({"approved": True}, 120), ({"approved": False}, 0)])
async def test_a_decision_lets_the_run_go_on(mesh: MeshProcess, decision: JsonDict, amount: int) -> None:
    async with mesh.client() as client:
        run, question = await begin(client)
        decided = await client.post(f"/v1/approvals/{question}/decisions", decision)
        assert decided.status == 200, decided.body
        found = await end(client, run)
        assert (found["status"], found["output"]) == ("completed", {"amount": amount})
        late = await client.post(f"/v1/approvals/{question}/decisions", {"approved": True, "comment": "late"})
        assert late.status == 409


async def test_a_person_with_a_link_needs_nothing_else(mesh: MeshProcess) -> None:
    async with mesh.client() as client, mesh.client(key=None) as stranger:
        run, question = await begin(client)
        refused = await anonymously(stranger, "GET", f"/v1/approvals/{question}")
        assert refused.status == 401
        made = await client.post(f"/v1/approvals/{question}/links", {"for": "user:ann"})
        assert made.status == 201, made.body
        link = str(made.body["url"])

        page = await anonymously(stranger, "GET", link)
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert "Pay 120 €?" in page.body["not_json"]

        sent = urlencode({"decision": "approve", "proposal": "1", "data": '{"amount": 100}'}).encode()
        done = await anonymously(stranger, "POST", link, sent)
        assert (done.status, "It is approved." in done.body["not_json"]) == (200, True)
        assert (await end(client, run))["output"] == {"amount": 100}
        [decision] = (await client.get(f"/v1/approvals/{question}")).body["decisions"]
        assert (decision["by"], decision["data"]) == ("ann", {"amount": 100})
        for method, body in (("GET", None), ("POST", b"decision=reject")):
            gone = await anonymously(stranger, method, link, body)
            assert (gone.status, gone.headers["content-type"]) == (404, "text/html; charset=utf-8")
