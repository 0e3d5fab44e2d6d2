"""MCP servers: none can be registered yet, and every call says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import CALL_MCP_TOOL, LIST_MCP_TOOLS
from crewmesh_testkit.identities import auth_headers, identity

from .running import Integration, integration

LISTING: JsonObject = {"server": "desk"}
CALL: JsonObject = {"server": "desk", "tool": "create_ticket", "arguments": {"title": "x"}}


@pytest.fixture
async def service(database: str) -> AsyncGenerator[Integration]:
    async with integration(database) as running_service:
        yield running_service


@pytest.mark.parametrize(("path", "body"), [(LIST_MCP_TOOLS.path, LISTING), (CALL_MCP_TOOL.path, CALL)])
class TestCalls:
    async def test_without_permission(self, service: Integration, path: str, body: JsonObject) -> None:
        headers = auth_headers(identity("http:send", organization=service.organization), audience="integration")
        answer = await service.http.post(path, json=body, headers={**headers, "Idempotency-Key": "k"})
        assert answer.status_code == 403

    async def test_no_server_is_known(self, service: Integration, path: str, body: JsonObject) -> None:
        headers = auth_headers(identity("mcp:call", organization=service.organization), audience="integration")
        answer = await service.http.post(path, json=body, headers={**headers, "Idempotency-Key": "k"})
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("/unknown-mcp-server")

    async def test_unknown_fields(self, service: Integration, path: str, body: JsonObject) -> None:
        headers = auth_headers(identity("mcp:call", organization=service.organization), audience="integration")
        answer = await service.http.post(
            path, json={**body, "command": "rm -rf /"}, headers={**headers, "Idempotency-Key": "k"}
        )
        assert answer.status_code == 422


async def test_a_call_needs_a_key(service: Integration) -> None:
    headers = auth_headers(identity("mcp:call", organization=service.organization), audience="integration")
    answer = await service.http.post(CALL_MCP_TOOL.path, json=CALL, headers=headers)
    assert answer.status_code == 400
