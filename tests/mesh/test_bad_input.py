"""Bad input at the public door gets a problem+json answer that says what to do, and harms nobody."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from crewmesh_contracts import api_keys
from crewmesh_testkit.mesh import MeshProcess

JSON = {"content-type": "application/json"}
EVENT = {"specversion": "1.0", "id": "x", "source": "/tests", "type": "com.example.nobody.listens"}


@dataclass(frozen=True)
class Bad:
    name: str
    path: str
    status: int
    slug: str
    says: str
    method: str = "POST"
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: JSON)


def event(**changes: object) -> bytes:
    return json.dumps(EVENT | changes).encode()


BAD = [
    Bad("malformed JSON", "/v1/events", 400, "malformed-json", "JSON", body=b'{"id": '),
    Bad("a list where an object belongs", "/v1/events", 422, "validation-failed", "", body=b"[]"),
    Bad("an empty body", "/v1/events", 422, "validation-failed", "", body=b""),
    Bad(
        "a form instead of JSON",
        "/v1/events",
        415,
        "unsupported-media-type",
        "application/json",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=b"id=1",
    ),
    Bad("an event without an id", "/v1/events", 422, "validation-failed", "id", body=event(id="")),
    Bad("a numeric traceid", "/v1/events", 422, "validation-failed", "traceid", body=event(traceid=5)),
    Bad(
        "an unknown spec version", "/v1/events", 422, "validation-failed", "specversion", body=event(specversion="0.3")
    ),
    Bad("an extension named __proto__", "/v1/events", 422, "validation-failed", "__proto__", body=event(__proto__="x")),
    Bad("a dict where a string belongs", "/v1/events", 422, "validation-failed", "type", body=event(type={"a": 1})),
    Bad(
        "10 MB",
        "/v1/events",
        413,
        "payload-too-large",
        "",
        # Told to close, the other side would do so with its answer, while there is more to be sent.
        headers=JSON | {"connection": "keep-alive"},
        body=event(data="x" * 10_000_000),
    ),
    Bad(
        "unknown fields",
        "/v1/workflows",
        422,
        "invalid-definition",
        "nodez",
        body=b'{"name": "x", "nodez": []}',
    ),
    Bad(
        "a definition with a cycle",
        "/v1/workflows",
        422,
        "invalid-definition",
        "circle",
        body=json.dumps(
            {
                "name": "x",
                "nodes": [{"id": "a", "kind": "http", "url": "https://example.com"}],
                "edges": [{"from": "a", "to": "a"}],
            }
        ).encode(),
    ),
    Bad("an unknown run", f"/v1/runs/run_{uuid4().hex}", 404, "unknown-run", "/v1/runs", method="GET", body=b""),
    Bad("an id of another kind", "/v1/runs/wf_1", 400, "invalid-request", "run_", method="GET", body=b""),
    Bad("an unknown path", "/v1/nothing-here", 404, "not-found", "/v1/", method="GET", body=b""),
    Bad("a method that is not there", "/v1/events", 405, "method-not-allowed", "", method="DELETE", body=b""),
    Bad("a bad cursor", "/v1/runs?cursor=%00", 400, "invalid-request", "cursor", method="GET", body=b""),
    Bad("a limit that is no number", "/v1/runs?limit=many", 400, "invalid-request", "limit", method="GET", body=b""),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_bad_input_is_answered_with_what_to_do(mesh: MeshProcess, bad: Bad) -> None:
    async with mesh.client() as client:
        answer = await client.request(bad.method, bad.path, body=bad.body, headers=bad.headers)
    assert answer.status == bad.status, answer.body
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.body["type"].endswith(f"/{bad.slug}")
    assert answer.body["status"] == bad.status
    assert answer.body["trace_id"]
    assert len(answer.body["detail"]) > 20, "a detail says what to do"
    assert bad.says in json.dumps(answer.body, ensure_ascii=False)


@pytest.mark.parametrize(
    "key", [None, "", "nonsense", api_keys.new_text()], ids=["missing", "empty", "nonsense", "unknown"]
)
async def test_without_a_valid_key_nothing_is_answered(mesh: MeshProcess, key: str | None) -> None:
    async with mesh.client(key=key) as client:
        for path in ("/v1/runs", "/v1/me", "/v1/knowledge-bases", "/v1/crews", "/v1/deliveries"):
            answer = await client.get(path)
            assert answer.status == 401, path
            assert answer.body["type"].endswith("/unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/../../internal/search",
        "/v1/%2e%2e/internal/kickoff",
        "/v1/runs%2F..%2F..%2Finternal",
        "/internal/search",
        "/v1//runs",
        "/v1/runs/%00",
    ],
)
async def test_no_path_leads_around_the_door(mesh: MeshProcess, path: str) -> None:
    async with mesh.client() as client:
        answer = await client.request("POST", path, body=b"{}", headers=JSON)
    assert answer.status in (400, 404)
    assert answer.headers["content-type"].startswith("application/problem+json")
