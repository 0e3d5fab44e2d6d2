"""Giving one agent a task, and stopping work that was asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply, is_empty
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.base import Invocation
from crewmesh_contracts.invocations.crews import CrewMessage, CrewQuestion, TokenUsage, Verdict
from crewmesh_contracts.invocations.payer import NOBODY_IN_PARTICULAR, Payer


class FilledIn(Contract):
    """A stretch of a text that its author did not write, and where it begins.

    ``by``: what the run was started with, or what other steps gave, who may have it from strangers.
    """

    at: Annotated[int, Field(ge=0)]
    text: str
    by: Literal["start", "steps"]


class AgentRequest(Contract):
    """``filled_in``: of the task, in order. ``verdicts``, ``wait_seconds`` and ``begun`` are as with a crew."""

    agent: Slug
    task: Annotated[str, Field(min_length=1, max_length=200_000)]
    filled_in: Annotated[tuple[FilledIn, ...], Field(max_length=10_000, exclude_if=is_empty)] = ()
    expected: Annotated[str, Field(max_length=20_000)] = "A short, correct answer."
    output_schema: JsonObject | None = None
    payer: Payer = NOBODY_IN_PARTICULAR
    verdicts: Annotated[tuple[Verdict, ...], Field(max_length=500)] = ()
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 20.0
    begun: bool = False


class AgentResult(Reply):
    text: str
    data: JsonValue = None
    messages: tuple[CrewMessage, ...] = ()
    usage: TokenUsage


class AgentProgress(Reply):
    """As with a crew: ``working`` means ask again at once, ``waiting`` when the questions are decided."""

    crew_run: str
    status: Literal["working", "waiting", "done"]
    result: AgentResult | None = None
    questions: tuple[CrewQuestion, ...] = ()


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
    result=AgentProgress,
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
