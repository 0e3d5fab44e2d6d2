"""A model as the organization knows it: where it is, what it can, and what it costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from crewmesh_contracts.base import Contract
from pydantic import Field, PlainSerializer, StringConstraints

from crewmesh_agent_crew.providers.protocol import ProviderKind
from crewmesh_agent_crew.spending.dollars import as_text

Capability: TypeAlias = Literal["tools", "images", "json_schema", "streaming"]
EVERYTHING: frozenset[Capability] = frozenset({"tools", "images", "json_schema", "streaming"})

# As people and providers write them: claude-sonnet-5-5, meta-llama/llama-4, llama3.2:3b, fast.
ModelName: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/-]*$", min_length=1, max_length=200)
]
# Nine places: a token then costs a whole number of nano-dollars per million, and sums are exact.
Price: TypeAlias = Annotated[
    Decimal,
    Field(ge=0, le=100_000, max_digits=15, decimal_places=9),
    PlainSerializer(as_text, return_type=str, when_used="json"),
]


class Rates(Contract):
    """US dollars per million tokens. ``cached``: of input that the provider had read before; ``written``: of input
    that it keeps for later. Unset, both cost what other input costs.
    """

    input: Price
    output: Price
    cached: Price | None = None
    written: Price | None = None


class LongRates(Rates):
    """What all tokens of a call cost when its input has more than ``beyond``."""

    beyond: Annotated[int, Field(ge=1)]


class Prices(Rates):
    long: LongRates | None = None


FREE = Prices(input=Decimal(0), output=Decimal(0))


# Some three thousand words: most answers are shorter, and what is reserved for them stays small money.
_USUAL_MAX_TOKENS = 4_096


def _usual_max_tokens(known: dict[str, Any]) -> int:
    """Three quarters of what the model can read are for the question: many servers refuse what does not fit in all."""
    context, most = known.get("context_tokens"), known.get("max_output_tokens")
    limits = [_USUAL_MAX_TOKENS, *([] if context is None else [context // 4]), *([] if most is None else [most])]
    return max(min(limits), 1)


class ModelEntry(Contract):
    """One model of the catalogue. ``provider`` is the name of the account it is asked at; none when there is none.

    ``model`` is its name there. ``context_tokens`` is what it can read and write in one call; unset when nobody knows,
    or when its server shortens what is too long. ``usual_max_tokens``: of a call that sets no limit of its own.
    ``image_tokens``: the most that one image counts as.
    """

    name: str
    provider: str | None
    kind: ProviderKind
    model: str
    prices: Prices
    price_version: str
    source: Literal["built-in", "deployment", "organization"]
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    usual_max_tokens: int = Field(default_factory=_usual_max_tokens)
    image_tokens: int = 6_000
    temperature: float | None = None
    capabilities: frozenset[Capability] = EVERYTHING
