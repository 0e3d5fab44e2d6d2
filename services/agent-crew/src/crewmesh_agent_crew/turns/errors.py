"""How turns fail, beyond the ways in which models and tools do.

::

    Problem
    ├── Conflict ── TurnLimitReached 409
    ├── GatewayTimeout ── TurnTimeout 504 (retryable)
    └── BadGateway ── TurnFailed 502 (retryable), TurnAnswerUnusable 502
"""

from __future__ import annotations

from crewmesh_kit.errors import BadGateway, Conflict, GatewayTimeout

_EXCERPT = 300


class TurnLimitReached(Conflict):
    """The agent used up its model calls or tokens without an answer. Give it more of them, or less to do."""

    slug, title = "turn-limit-reached", "Agent's limit reached"


class TurnTimeout(GatewayTimeout):
    """The agent did not answer within limits.seconds. Try again, give it less to do, or give it more time."""

    slug, title = "turn-timeout", "Agent timed out"


class TurnFailed(BadGateway):
    """The agent ended without an answer for a reason of its own. The log tells it under the trace id."""

    slug, title, retryable = "turn-failed", "Agent failed", True


class TurnAnswerUnusable(BadGateway):
    """The agent was told what is wrong with its answer, and its second one is no better. A larger model helps."""

    slug, title = "turn-answer-unusable", "Agent's answer unusable"

    def __init__(self, agent: str, reason: str, said: str) -> None:
        super().__init__(
            f"The agent {agent} was told what is wrong with its answer, and its second one is no better: "
            f"{reason[:_EXCERPT]}. Give it a larger model, or an easier task.",
            said=said[:_EXCERPT],
        )
