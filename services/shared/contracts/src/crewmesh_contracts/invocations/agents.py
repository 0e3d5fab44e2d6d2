"""Giving one agent a task, and stopping work that was asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.base import Invocation
from crewmesh_contracts.invocations.crews import CrewMessage, TokenUsage


class AgentRequest(Contract):
    agent: Slug
    task: Annotated[str, Field(min_length=1, max_length=200_000)]
    expected: Annotated[str, Field(max_length=20_000)] = "A short, correct answer."
    output_schema: JsonObject | None = None


class AgentResult(Reply):
    text: str
    data: JsonValue = None
    messages: tuple[CrewMessage, ...] = ()
    usage: TokenUsage


class StopRequest(Contract):
    """``key`` is the idempotency key under which the work was asked for."""

    key: Annotated[str, Field(min_length=1, max_length=255)]


class StopResult(Reply):
    """Whether there was such work, at this moment, on this replica."""

    stopped: bool


ASK_AGENT = Invocation(
    app="agent-crew",
    path="/internal/agent",
    permission="crews:run",
    request=AgentRequest,
    result=AgentResult,
    callers=("workflow",),
    effect=True,
)
STOP_THINKING = Invocation(
    app="agent-crew",
    path="/internal/stop",
    permission="crews:run",
    request=StopRequest,
    result=StopResult,
    callers=("workflow",),
    effect=False,
)
