"""Which MCP servers an organization has: none yet, and every call says so."""

from __future__ import annotations

from crewmesh_contracts.invocations import McpCall, McpResult, McpTools
from crewmesh_kit.identity import Identity

from crewmesh_integration.mcp.errors import UnknownMcpServer


class McpServers:
    async def tools(self, _: Identity, server: str) -> McpTools:
        """What the server offers, as it says itself."""
        raise UnknownMcpServer(server)

    async def call(self, _: Identity, __: str, call: McpCall) -> McpResult:
        """The tool's result; the same key gets the same one."""
        raise UnknownMcpServer(call.server)
