"""Letting a crew of agents think.

A crew may work for hours and may have to wait for people, so it is asked again and again under one key until it is
done: each call says how far it is. Nothing that was paid for is done twice, whoever dies meanwhile.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonObject, Reply, is_empty
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.base import Invocation
from crewmesh_contracts.invocations.payer import NOBODY_IN_PARTICULAR, Payer


class Verdict(Contract):
    """What people said to a question. ``arguments``: do it with these instead."""

    question: Annotated[str, Field(min_length=1, max_length=300)]
    approved: bool
    arguments: JsonObject | None = None
    by: Annotated[str, Field(max_length=300)] = ""


class KickoffRequest(Contract):
    """``from_steps``: the inputs in which there is what other steps gave, who may have it from strangers.

    ``verdicts``: answers to questions of this crew that were told before.

    ``wait_seconds``: how long to wait for the end before telling how far it is. ``begun``: it was asked before in this
    attempt, so that a failure since then is told. Otherwise what failed of something that may pass is begun again.
    """

    crew: Slug
    inputs: dict[str, Annotated[str, Field(max_length=20_000)]]
    from_steps: Annotated[tuple[str, ...], Field(max_length=100, exclude_if=is_empty)] = ()
    payer: Payer = NOBODY_IN_PARTICULAR
    verdicts: Annotated[tuple[Verdict, ...], Field(max_length=500)] = ()
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 20.0
    begun: bool = False


class CrewMessage(Reply):
    agent: str
    task: str
    text: str


class TokenUsage(Reply):
    """``cost`` is in US dollars, exact, as a decimal. ``model``: the one that was asked last."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cost: str = "0"


class KickoffResult(Reply):
    text: str
    messages: tuple[CrewMessage, ...]
    usage: TokenUsage


class CrewQuestion(Reply):
    """What must be decided before the work goes on. ``budget``: a budget is used up, until somebody tops it up."""

    id: str
    kind: Literal["tool", "budget"]
    title: str
    agent: str
    tool: str | None = None
    arguments: JsonObject | None = None


class KickoffProgress(Reply):
    """``working``: ask again under the same key, at once. ``waiting``: ask again when the questions are decided."""

    crew_run: str
    status: Literal["working", "waiting", "done"]
    result: KickoffResult | None = None
    questions: tuple[CrewQuestion, ...] = ()


KICKOFF = Invocation(
    app="agent-crew",
    path="/internal/kickoff",
    permission="crews:run",
    request=KickoffRequest,
    result=KickoffProgress,
    callers=("workflow",),
    effect=True,
)
