"""Asking for work of agents until it is done: it may take hours, and people may have to decide something on the way."""

from __future__ import annotations

from typing import TypeVar

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import (
    AgentProgress,
    AgentRequest,
    CrewQuestion,
    Invocation,
    KickoffProgress,
    KickoffRequest,
)
from crewmesh_kit.errors import GatewayTimeout

from crewmesh_workflow.nodes.base import AfterApproval, AfterPause, EffectContext

RequestT = TypeVar("RequestT", KickoffRequest, AgentRequest)
ProgressT = TypeVar("ProgressT", KickoffProgress, AgentProgress)

# What is filled in while the agents are at work.
WHILE_AT_WORK = frozenset({"payer", "verdicts", "wait_seconds", "begun"})
_LONGEST_WAIT_SECONDS = 20.0
# What waits for a budget: a run of agents is woken by its top-up; the step sees that a little later.
AWAITS_TOP_UP = "budget-awaits-top-up"
BUDGET_SECONDS = 30.0


class StillAtWork(GatewayTimeout):
    """The agents are at work for longer than the step may take. Another attempt joins them; the last one stops them."""

    slug, title = "still-at-work", "Still at work"


async def until_done(
    invocation: Invocation[RequestT, ProgressT], request: RequestT, context: EffectContext
) -> JsonObject:
    """The result. Raises NotYet when something has to come first."""
    asked = request.model_copy(update={"payer": context.payer})
    while True:
        wait = min(_LONGEST_WAIT_SECONDS, context.seconds_left)
        progress = await context.call(invocation, asked.model_copy(update={"wait_seconds": wait}))
        if progress.status == "done" and progress.result is not None:
            return progress.result.model_dump(mode="json")
        if progress.status == "waiting" and progress.questions:
            raise _first(progress.questions[0])
        if context.seconds_left <= 0:
            raise StillAtWork("The agents are still at work; give the step more time in timeout_seconds.")
        asked = asked.model_copy(update={"begun": True})


def _first(question: CrewQuestion) -> AfterApproval | AfterPause:
    if question.kind == "budget":
        return AfterPause(AWAITS_TOP_UP, question.title, seconds=BUDGET_SECONDS)
    about: JsonObject = {"agent": question.agent, "tool": question.tool, "arguments": question.arguments}
    return AfterApproval(question=question.id, title=question.title, about=about, data=question.arguments)
