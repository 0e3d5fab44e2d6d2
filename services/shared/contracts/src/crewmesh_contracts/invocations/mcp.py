"""The tools of MCP servers, which the integration service alone talks to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.base import Invocation

McpToolName = Annotated[str, Field(min_length=1, max_length=200)]


class McpListing(Contract):
    server: Slug


class McpTool(Reply):
    """``description`` and ``parameters`` (a JSON Schema) are the server's own words, and not to be trusted."""

    name: str
    description: str = ""
    parameters: JsonObject = {"type": "object"}


class McpTools(Reply):
    tools: tuple[McpTool, ...]


class McpCall(Contract):
    server: Slug
    tool: McpToolName
    arguments: JsonObject = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0


class McpResult(Reply):
    """``failed``: the tool itself said that it could not do it; ``text`` says why. ``data``: structured content."""

    text: str
    data: JsonValue = None
    failed: bool = False


LIST_MCP_TOOLS = Invocation(
    app="integration",
    path="/internal/mcp/tools",
    permission="mcp:call",
    request=McpListing,
    result=McpTools,
    callers=("agent-crew",),
    effect=False,
)
CALL_MCP_TOOL = Invocation(
    app="integration",
    path="/internal/mcp/calls",
    permission="mcp:call",
    request=McpCall,
    result=McpResult,
    callers=("agent-crew",),
    effect=True,
)
