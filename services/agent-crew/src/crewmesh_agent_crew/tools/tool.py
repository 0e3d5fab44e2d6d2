"""All kinds of tools, by the grants that ask for them."""

from __future__ import annotations

from typing import TypeAlias

from crewmesh_contracts.invocations import McpTool

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.tools.grants import ActionGrant, CodeGrant, HttpGrant, KnowledgeGrant, McpGrant
from crewmesh_agent_crew.tools.kinds.action import ActionTool
from crewmesh_agent_crew.tools.kinds.code import CodeTool
from crewmesh_agent_crew.tools.kinds.http import HttpTool
from crewmesh_agent_crew.tools.kinds.knowledge import KnowledgeTool
from crewmesh_agent_crew.tools.kinds.mcp import McpServerTool

AnyTool: TypeAlias = HttpTool | KnowledgeTool | CodeTool | ActionTool | McpServerTool


def tool_of(grant: HttpGrant | KnowledgeGrant | CodeGrant | ActionGrant | McpGrant, listed: McpTool) -> AnyTool:
    """``listed``: what its server says of an MCP tool."""
    match grant:
        case HttpGrant():
            return HttpTool(grant)
        case KnowledgeGrant():
            return KnowledgeTool(grant)
        case CodeGrant():
            return CodeTool(grant)
        case ActionGrant():
            return ActionTool(grant)
        case McpGrant():
            return McpServerTool(grant, listed)


def reads_strangers(agent: AgentDefinition) -> bool:
    """Whether it may read words of strangers: what tools give, and what it remembers of such."""
    by_tools = any(not isinstance(grant, CodeGrant) for grant in agent.tools)
    return by_tools or agent.memory.short or agent.memory.long
