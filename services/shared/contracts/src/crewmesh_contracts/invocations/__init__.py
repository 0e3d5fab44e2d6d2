"""Calls between services, each declared once: who answers, on which path, with which shapes."""

from crewmesh_contracts.invocations.base import Invocation
from crewmesh_contracts.invocations.crews import KICKOFF, CrewMessage, KickoffRequest, KickoffResult, TokenUsage
from crewmesh_contracts.invocations.http import SEND_HTTP, HttpReply, HttpSend
from crewmesh_contracts.invocations.knowledge import SEARCH, SearchHit, SearchRequest, SearchResult

INVOCATIONS = (SEARCH, KICKOFF, SEND_HTTP)

__all__ = [
    "INVOCATIONS",
    "KICKOFF",
    "SEARCH",
    "SEND_HTTP",
    "CrewMessage",
    "HttpReply",
    "HttpSend",
    "Invocation",
    "KickoffRequest",
    "KickoffResult",
    "SearchHit",
    "SearchRequest",
    "SearchResult",
    "TokenUsage",
]
