"""What the public API shows of models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field

from crewmesh_agent_crew.catalogue.models import Capability, ModelName, Prices
from crewmesh_agent_crew.providers.protocol import ProviderKind

Source = Literal["built-in", "deployment", "organization"]


class Model(Reply):
    """A model. ``usable``: there is an account to ask it by, ``provider``. ``version`` is its ETag: 0 until the
    organization says something of it. Prices are US dollars per million tokens.
    """

    id: str | None = Field(description="Of what the organization says of it; none until it does.")
    name: str
    provider: str | None = Field(description="Name of the account it is asked by.")
    kind: ProviderKind = Field(description="Kind of provider that serves it.")
    model: str = Field(description="What the provider calls it.")
    source: Source
    usable: bool
    prices: Prices
    price_version: str = Field(description="What the costs of calls refer to; another one after each change of prices.")
    context_tokens: int | None
    max_output_tokens: int | None
    usual_max_tokens: int
    image_tokens: int
    temperature: float | None
    capabilities: tuple[Capability, ...]
    aliases: tuple[str, ...] = Field(description="Aliases that stand for this model, among others perhaps.")
    version: int


class PriceChange(Reply):
    """``price_version`` is what the costs of calls of that time refer to."""

    price_version: str
    prices: Prices
    since: datetime


class AliasDefinition(Contract):
    """The models, in the order they are asked: the next one when the one before it fails."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"models": ["claude-sonnet-5-5", "gpt-6.1-terra", "default"]}]}
    )

    models: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=20)]


class Alias(Reply):
    """``asks``: those of ``models`` that can be asked right now. ``version`` is its ETag: 0 unless the organization
    made it.
    """

    id: str | None = Field(description="None unless the organization made it.")
    name: str
    models: tuple[str, ...]
    asks: tuple[str, ...]
    source: Source
    version: int
