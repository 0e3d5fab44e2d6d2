"""What the public API shows of crew runs, and takes to begin and to decide."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations import TokenUsage
from pydantic import Field, StringConstraints

from crewmesh_agent_crew.crew_runs.models import Kind, Spoken, Status

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Said = Literal["instruction", "answer", "tool", "question", "decision", "note"]


class CrewRunRequest(Contract):
    """A value for every input of the crew."""

    inputs: Annotated[dict[str, Annotated[Text, Field(max_length=20_000)]], Field(max_length=20)] = {}

    model_config = {"json_schema_extra": {"examples": [{"inputs": {"question": "What is a mesh?"}}]}}


class AgentRunRequest(Contract):
    task: Annotated[Text, Field(min_length=1, max_length=200_000)]
    expected: Annotated[Text, Field(max_length=20_000)] = "A short, correct answer."
    output_schema: JsonObject | None = None

    model_config = {
        "json_schema_extra": {"examples": [{"task": "Explain what a mesh is.", "expected": "Two sentences."}]}
    }


class Decision(Contract):
    """``arguments``: do it with these instead of those that the agent wants."""

    approved: bool
    arguments: JsonObject | None = None

    model_config = {"json_schema_extra": {"examples": [{"approved": True}]}}


class CrewRunFailure(Reply):
    """The problem it ended with, as an answer would have told it."""

    type: str
    title: str
    detail: str
    retryable: bool


class CrewRunSummary(Reply):
    """``name``: of the crew or agent. ``run`` and ``step``: of the workflow's run it works for."""

    id: str
    kind: Kind
    name: str
    version: int
    status: Status
    requested_by: str
    run: str | None
    step: str | None
    conversation: str | None
    error: CrewRunFailure | None
    usage: TokenUsage
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class CrewRun(CrewRunSummary):
    """``text`` and ``data``: what came of it. ``said``: the turns that led there. ``asked``: inputs, or the task."""

    asked: JsonObject
    text: str | None
    data: JsonValue
    said: tuple[Spoken, ...]
    waits_for: tuple[str, ...]


class CrewRunMessage(Reply):
    """``from`` and ``to`` are names of agents or tools; empty where it is the run itself, or a person."""

    seq: int
    kind: Said
    sender: Annotated[str, Field(alias="from")]
    receiver: Annotated[str, Field(alias="to")]
    task: str
    text: str
    at: datetime


class CrewRunQuestion(Reply):
    """``approved`` is null until somebody decided; ``edited``: the arguments to use instead."""

    id: str
    kind: Literal["tool", "budget"]
    title: str
    agent: str
    tool: str | None
    arguments: JsonObject | None
    asked_at: datetime
    approved: bool | None
    edited: JsonObject | None
    decided_by: str | None
    decided_at: datetime | None
