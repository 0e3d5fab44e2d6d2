"""``POST /internal/mcp/…``: the contracts ``LIST_MCP_TOOLS`` and ``CALL_MCP_TOOL``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import CALL_MCP_TOOL, LIST_MCP_TOOLS, McpCall, McpListing, McpResult, McpTools
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import NeededIdempotencyKey
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_integration.mcp.servers import McpServers

router = APIRouter()

Servers = Annotated[McpServers, provided(McpServers)]


@router.post(LIST_MCP_TOOLS.path)
async def list_mcp_tools(
    request: McpListing, identity: Annotated[Identity, requires(LIST_MCP_TOOLS.permission)], servers: Servers
) -> McpTools:
    return await servers.tools(identity, request.server)


@router.post(CALL_MCP_TOOL.path)
async def call_mcp_tool(
    request: McpCall,
    identity: Annotated[Identity, requires(CALL_MCP_TOOL.permission)],
    key: NeededIdempotencyKey,
    servers: Servers,
) -> McpResult:
    return await servers.call(identity, key, request)
