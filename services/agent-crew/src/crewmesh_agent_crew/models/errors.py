"""How asking a model fails.

::

    Problem
    ├── NotFound ── UnknownModel 404
    ├── TooManyRequests ── ModelRateLimited 429 (retryable)
    ├── BadGateway ── ModelRefused 502, ModelAnswerUnusable 502
    ├── Unavailable ── ModelUnavailable 503 (retryable)
    └── GatewayTimeout ── ModelTimeout 504 (retryable)
"""

from __future__ import annotations

from collections.abc import Collection

from crewmesh_contracts.invocations import TokenUsage
from crewmesh_kit.errors import BadGateway, GatewayTimeout, NotFound, TooManyRequests, Unavailable

_EXCERPT = 300


class UnknownModel(NotFound):
    """There is no model of that name or alias. The answer lists those there are; an operator can add aliases."""

    slug, title = "unknown-model", "Unknown model"

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(
            f"There is no model {name[:100]!r}; there are: {', '.join(known)}. More can be added in the setting "
            "model.aliases of the agent-crew service."
        )


class ModelRateLimited(TooManyRequests):
    """The model server takes no more requests at the moment (429), and stayed so over several attempts."""

    slug, title = "model-rate-limited", "Model rate limited"


class ModelUnavailable(Unavailable):
    """The model server is busy, away or failing, and stayed so over several attempts. Try again in a while."""

    slug, title = "model-unavailable", "Model unavailable"


class ModelTimeout(GatewayTimeout):
    """The model did not answer within its time. Try again, ask for fewer tokens, or raise the timeout."""

    slug, title = "model-timeout", "Model timed out"


class ModelRefused(BadGateway):
    """The model server refuses such requests, or answers nonsense: its URL, key or model name is wrong."""

    slug, title = "model-refused", "Model refused"


class ModelAnswerUnusable(BadGateway):
    """The model answered twice, and neither answer was what was asked for. A larger model, or an easier task, helps."""

    slug, title = "model-answer-unusable", "Model answer unusable"

    def __init__(self, reason: str, said: str, used: TokenUsage) -> None:
        super().__init__(
            f"The model {used.model} was told what is wrong with its answer, and its second one is no better: "
            f"{reason[:_EXCERPT]}. Use a larger model, or make the task easier.",
            said=said[:_EXCERPT],
            usage=used.model_dump(),
        )
