"""What an organization says of a model of its own, and the whole that becomes of it."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug
from pydantic import ConfigDict, Field

from crewmesh_agent_crew.catalogue.built_in import by_id
from crewmesh_agent_crew.catalogue.models import Capability, ModelEntry, Prices
from crewmesh_agent_crew.providers.protocol import ProviderKind


class ModelDefinition(Contract):
    """A model of the organization. What is left out is as the model of this name is without it; of a model that nobody
    knows, the account and the prices are needed. Prices that are 0 are said to be 0, so that nothing costs nothing by
    mistake.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prices": {"input": "1.80", "output": "9.00", "cached": "0.18"}},
                {
                    "provider": "our-vllm",
                    "model": "qwen3-32b-awq",
                    "prices": {"input": "0", "output": "0"},
                    "context_tokens": 32768,
                    "capabilities": ["tools", "json_schema", "streaming"],
                },
            ]
        }
    )

    provider: Slug | None = Field(
        default=None, description="Name of the account it is asked by. Unset: the first one of its provider."
    )
    model: Annotated[str, Field(max_length=300, pattern=r"^[!-~]+$")] | None = Field(
        default=None, description="What the provider calls it. Unset: the same as here."
    )
    prices: Prices | None = Field(default=None, description="US dollars per million tokens.")
    context_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None, description="How much it can read and write in one call."
    )
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None, description="The longest answer it can give."
    )
    usual_max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None, description="The longest answer of a call that sets no limit of its own."
    )
    image_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="The most tokens that one image counts as."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="How freely it chooses its words where a call does not say."
    )
    capabilities: frozenset[Capability] | None = Field(default=None, description="What it can.")


class OwnModel(Contract):
    """As it is kept. ``kind``: of the account that it was given, which may be gone by now."""

    definition: ModelDefinition
    kind: ProviderKind
    price_version: int


def completed(name: str, own: OwnModel, shipped: ModelEntry | None) -> ModelEntry:
    """What the organization says, over what is known of the model anyway."""
    said = own.definition.model_dump(exclude_none=True, exclude={"prices"})
    known = known_of(name, own.definition, shipped)
    prices = own.definition.prices
    return ModelEntry.model_validate(
        {
            **(known.model_dump(exclude={"provider"}) if known else {"model": name}),
            "provider": shipped.provider if shipped else None,
            "kind": own.kind,
            **said,
            "name": name,
            "source": "organization",
            **({} if prices is None else {"prices": prices, "price_version": f"{name}@{own.price_version}"}),
        }
    )


def known_of(name: str, definition: ModelDefinition, shipped: ModelEntry | None) -> ModelEntry | None:
    """The model that it stands in for: that of its name, or the one that its provider calls so."""
    return shipped or by_id().get(definition.model or name)
