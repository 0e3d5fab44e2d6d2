"""What every protocol does, and how it fails. One module of this package per protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink

ProviderKind: TypeAlias = Literal[
    "openai",
    "openai-responses",
    "openai-compatible",
    "anthropic",
    "google",
    "groq",
    "mistral",
    "azure",
    "bedrock",
    "openrouter",
    "ollama",
]

FailureKind: TypeAlias = Literal[
    "limited",  # 429: come again later
    "overloaded",  # 503, 529: the same, but not our fault
    "unavailable",  # cannot be reached, 5xx
    "timeout",
    "cut",  # the answer broke off in the middle
    "unreadable",  # what came is no answer of this protocol
    "bad-key",
    "refused",  # 4xx: asking again would be refused again
    "too-long",  # more than the model can read
    "filtered",  # the provider's own policy said no
]


@dataclass(frozen=True, slots=True)
class Account:
    """Access to one server. ``organization`` is none for those that the deployment gives to everybody.

    The key is kept out of everything that is printed. ``options``: what the kind needs beside it, checked when saved
    (azure: api_version; bedrock: region, access_key_id; …). ``trusted``: it leads where the operator said, as those
    without an organization do.
    """

    name: str
    kind: ProviderKind
    base_url: str
    organization: str | None = None
    trusted: bool = False
    key: str = field(default="", repr=False)
    options: JsonObject = field(default_factory=dict[str, JsonValue])
    most_at_once: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class ProviderError(Exception):
    """One attempt failed. ``detail`` is for people and holds no secret; ``pause``: seconds, when the server said so.

    ``tokens_paid``: the server may have charged for what it did (an answer that broke off). ``status`` and
    ``parameter``: what the server answered, and the part of the request that it named as the reason.
    """

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        *,
        pause: float | None = None,
        tokens_paid: bool = False,
        status: int | None = None,
        parameter: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind: FailureKind = kind
        self.detail = detail
        self.pause = pause
        self.tokens_paid = tokens_paid
        self.status = status
        self.parameter = parameter


class ModelProtocol(Protocol):
    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        """One attempt, streamed when there is a sink. Raises ProviderError. Cancelling closes the connection."""
        ...

    async def models(self, account: Account) -> list[str]:
        """What the account may ask, by the provider's own names: the cheapest proof that it works."""
        ...
