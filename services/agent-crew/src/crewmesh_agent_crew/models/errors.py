"""How asking a model fails.

::

    Problem
    ├── NotFound ── UnknownModel 404
    ├── InvalidRequest ── ModelUnsuitable 400
    ├── Conflict ── ModelWithoutAccount 409
    ├── PayloadTooLarge ── PromptTooLong 413
    ├── TooManyRequests ── ModelRateLimited 429 (retryable)
    ├── BadGateway ── ModelRefused 502, ModelFiltered 502, ModelAnswerUnusable 502
    ├── Unavailable ── ModelUnavailable 503 (retryable)
    └── GatewayTimeout ── ModelTimeout 504 (retryable)
"""

from __future__ import annotations

from collections.abc import Collection

from crewmesh_contracts.invocations import TokenUsage
from crewmesh_kit.errors import (
    BadGateway,
    Conflict,
    GatewayTimeout,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    TooManyRequests,
    Unavailable,
)

_EXCERPT = 300
_MOST_NAMES = 20


class UnknownModel(NotFound):
    """There is no model or alias of that name. The answer names some that there are; ``GET /v1/models`` lists all."""

    slug, title = "unknown-model", "Unknown model"

    def __init__(self, name: str, known: Collection[str]) -> None:
        some = [*known][:_MOST_NAMES]
        more = ", …" if len(known) > len(some) else ""
        super().__init__(
            f"There is no model {name[:100]!r}; there are: {', '.join(some)}{more}. GET /v1/models lists all of them; "
            "PUT /v1/models/{name} adds one, PUT /v1/models/aliases/{alias} gives others a further name."
        )


class ModelUnsuitable(InvalidRequest):
    """None of the models that the name stands for can do what this needs: use tools, look at images, or read so much.

    Name another model, or tell what this one can with ``PUT /v1/models/{name}``.
    """

    slug, title = "model-unsuitable", "Model unsuitable"


class ModelWithoutAccount(Conflict):
    """The model is known, but there is no account at its provider to ask it by. Add one: ``POST /v1/providers``."""

    slug, title = "model-without-account", "Model without account"


class PromptTooLong(PayloadTooLarge):
    """The text is longer than the model can read. Shorten it, or name a model with a larger context."""

    slug, title = "prompt-too-long", "Prompt too long"


class ModelRateLimited(TooManyRequests):
    """The model server takes no more requests at the moment, and stayed so over several attempts."""

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


class ModelFiltered(BadGateway):
    """The provider's own policy forbids to answer this. Ask differently, or ask another model."""

    slug, title = "model-filtered", "Model filtered"


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
