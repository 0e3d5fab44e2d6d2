"""The audit log in the whole mesh: what is changed in a service becomes a line of one chain."""

from __future__ import annotations

from uuid import uuid4

from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.polling import until

SLUG = f"told-{uuid4().hex[:8]}"
FILE = f"name: Told\nslug: {SLUG}\nnodes:\n  - {{ id: say, kind: transform, output: {{ said: 'yes' }} }}\n"


async def line(client: MeshClient, query: str) -> JsonDict:
    """The newest line that the query finds."""

    async def found() -> JsonDict | None:
        items = (await client.get(f"/v1/audit-events?{query}")).body["items"]
        return items[0] if items else None

    return await until(found, seconds=120, what=f"an audit line with {query}")


async def test_what_is_changed_in_a_service_arrives_in_the_log(mesh: MeshProcess) -> None:
    async with mesh.client() as client:
        applied = await client.post("/v1/workflows/apply", {"files": [{"path": "told.yaml", "content": FILE}]})
        assert applied.status == 200, applied.body
        workflow = applied.body["plan"][0]["workflow"]
        base = await client.post("/v1/knowledge-bases", {"name": SLUG})
        assert base.status == 201, base.body

        told = await line(client, f"resource={workflow}")
        assert (told["action"], told["after"]["version"]) == ("workflow.applied", 1)
        assert told["actor"].startswith("key_")
        assert told["acting_for"].startswith("usr_")
        assert told["address"]
        assert (await line(client, f"resource={base.body['id']}"))["action"] == "knowledge-base.created"

        verified = await client.post("/v1/audit-events/verify", {})
        assert verified.body["ok"] is True, verified.body
        assert verified.body["checked"] >= 2
