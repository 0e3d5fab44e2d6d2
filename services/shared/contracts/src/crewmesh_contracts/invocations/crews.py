"""Letting a crew of agents think."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.base import Invocation


class KickoffRequest(Contract):
    crew: Slug
    inputs: dict[str, Annotated[str, Field(max_length=20_000)]]


class CrewMessage(Reply):
    agent: str
    task: str
    text: str


class TokenUsage(Reply):
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int


class KickoffResult(Reply):
    text: str
    messages: tuple[CrewMessage, ...]
    usage: TokenUsage


KICKOFF = Invocation(
    app="agent-crew",
    path="/internal/kickoff",
    permission="crews:run",
    request=KickoffRequest,
    result=KickoffResult,
    callers=("workflow",),
    effect=True,
)
