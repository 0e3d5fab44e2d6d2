"""Calls between services, each declared once: who answers, on which path, with which shapes."""

from typing import Any

from crewmesh_contracts.invocations.actions import RUN_ACTION, ActionRequest, ActionResult
from crewmesh_contracts.invocations.agents import (
    ASK_AGENT,
    STOP_THINKING,
    AgentProgress,
    AgentRequest,
    AgentResult,
    FilledIn,
    StopRequest,
    StopResult,
)
from crewmesh_contracts.invocations.base import Invocation
from crewmesh_contracts.invocations.code import RUN_CODE, CodeRun, CodeRunResult
from crewmesh_contracts.invocations.crews import (
    KICKOFF,
    CrewMessage,
    CrewQuestion,
    KickoffProgress,
    KickoffRequest,
    KickoffResult,
    TokenUsage,
    Verdict,
)
from crewmesh_contracts.invocations.http import SEND_HTTP, HttpReply, HttpSend
from crewmesh_contracts.invocations.knowledge import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_contracts.invocations.mcp import (
    CALL_MCP_TOOL,
    LIST_MCP_TOOLS,
    McpCall,
    McpListing,
    McpResult,
    McpTool,
    McpTools,
)
from crewmesh_contracts.invocations.memories import (
    FORGET,
    RECALL,
    REMEMBER,
    ForgetRequest,
    ForgetResult,
    Recalled,
    RecallRequest,
    RecallResult,
    Remembered,
    RememberRequest,
    RememberResult,
)
from crewmesh_contracts.invocations.models import ASK_MODEL, ModelAnswer, ModelMessage, ModelRequest, unfit_labels
from crewmesh_contracts.invocations.owned_data import EXPORT, WOULD_FORGET
from crewmesh_contracts.invocations.payer import Payer

INVOCATIONS: tuple[Invocation[Any, Any], ...] = (
    SEARCH,
    KICKOFF,
    ASK_AGENT,
    ASK_MODEL,
    STOP_THINKING,
    SEND_HTTP,
    RUN_ACTION,
    RUN_CODE,
    LIST_MCP_TOOLS,
    CALL_MCP_TOOL,
    REMEMBER,
    RECALL,
    FORGET,
    *EXPORT.values(),
    *WOULD_FORGET.values(),
)

__all__ = [
    "ASK_AGENT",
    "ASK_MODEL",
    "CALL_MCP_TOOL",
    "EXPORT",
    "FORGET",
    "INVOCATIONS",
    "KICKOFF",
    "LIST_MCP_TOOLS",
    "RECALL",
    "REMEMBER",
    "RUN_ACTION",
    "RUN_CODE",
    "SEARCH",
    "SEND_HTTP",
    "STOP_THINKING",
    "WOULD_FORGET",
    "ActionRequest",
    "ActionResult",
    "AgentProgress",
    "AgentRequest",
    "AgentResult",
    "CodeRun",
    "CodeRunResult",
    "CrewMessage",
    "CrewQuestion",
    "FilledIn",
    "ForgetRequest",
    "ForgetResult",
    "HttpReply",
    "HttpSend",
    "Invocation",
    "KickoffProgress",
    "KickoffRequest",
    "KickoffResult",
    "McpCall",
    "McpListing",
    "McpResult",
    "McpTool",
    "McpTools",
    "ModelAnswer",
    "ModelMessage",
    "ModelRequest",
    "Payer",
    "RecallRequest",
    "RecallResult",
    "Recalled",
    "RememberRequest",
    "RememberResult",
    "Remembered",
    "SearchHit",
    "SearchRequest",
    "SearchResult",
    "StopRequest",
    "StopResult",
    "TokenUsage",
    "Verdict",
    "unfit_labels",
]
