"""daprd itself refuses what is not listed: other paths, other verbs, other callers, and callers without the token."""

from __future__ import annotations

import pytest
from crewmesh_gateway.proxy.routing import OWNERS, VERBS
from crewmesh_testkit.mesh import MeshProcess


@pytest.mark.parametrize(
    ("caller", "callee", "method", "path"),
    [
        ("gateway", "knowledge", "POST", "/internal/search"),
        ("gateway", "agent-crew", "POST", "/internal/kickoff"),
        ("gateway", "integration", "POST", "/internal/http-requests"),
        ("knowledge", "workflow", "GET", "/v1/runs"),
        ("workflow", "knowledge", "GET", "/v1/knowledge-bases"),
        ("workflow", "knowledge", "PUT", "/internal/search"),
        ("workflow", "gateway", "GET", "/v1/me"),
        # Of what the gateway may ask a service for, only that service's own, and only as it is asked for.
        ("gateway", "workflow", "GET", "/v1/knowledge-bases"),
        ("gateway", "workflow", "GET", "/v1/nothing"),
        ("gateway", "workflow", "GET", "/v1/runsx"),
        ("gateway", "workflow", "GET", "/v1"),
        ("gateway", "workflow", "PATCH", "/v1/workflows/wf_1"),
        ("gateway", "integration", "DELETE", "/v1/deliveries/dlv_1"),
        ("gateway", "knowledge", "GET", "/internal/search"),
        ("gateway", "agent-crew", "GET", "/healthz"),
        ("gateway", "agent-crew", "POST", "/subscriptions/organizations"),
        ("workflow", "integration", "GET", "/v1/deliveries"),
        ("workflow", "agent-crew", "POST", "/internal/owned-data/export"),
    ],
)
async def test_a_call_that_is_not_listed_is_refused_by_the_callee_s_sidecar(
    mesh: MeshProcess, caller: str, callee: str, method: str, path: str
) -> None:
    status, body = await mesh.invoke_through_sidecar(caller, callee, method, path)
    # Apps whose API allow-list has no invocation at all are refused by their own sidecar already.
    assert status in (403, 404, 501), body
    if caller in ("gateway", "workflow"):
        assert status == 403, body
        assert "access control policy has denied access" in body


async def test_what_is_listed_gets_through_at_and_below_its_name(mesh: MeshProcess) -> None:
    for resource, verbs in VERBS.items():
        for path in (f"/v1/{resource}", f"/v1/{resource}/a/b"):
            for verb in verbs:
                status, body = await mesh.invoke_through_sidecar("gateway", OWNERS[resource], verb, path)
                # The service itself answers: nobody is signed in, or there is no such path.
                assert status in (401, 404, 405, 415, 422), (verb, path, status, body)
                assert "access control policy" not in body, (verb, path)


async def test_a_sidecar_answers_nobody_without_its_token(mesh: MeshProcess) -> None:
    status, _ = await mesh.invoke_through_sidecar("gateway", "workflow", "GET", "/v1/runs", token="wrong")
    assert status == 401


async def test_an_app_answers_nobody_but_its_sidecar(mesh: MeshProcess) -> None:
    status, body = await mesh.call_app("knowledge", "POST", "/internal/search", body=b"{}")
    assert status == 401, body


async def test_an_app_cannot_read_another_s_secret(mesh: MeshProcess) -> None:
    status, body = await mesh.secret_through_sidecar("knowledge", "database-url-workflow")
    assert status == 403, body
