"""The models that everybody knows, with the prices that the version of the file stands for.

``built_in.json`` is written by ``python -m crewmesh_tools.model_prices``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated

from crewmesh_contracts.base import Contract
from pydantic import Field

from crewmesh_agent_crew.catalogue.models import Capability, ModelEntry, ModelName, Prices
from crewmesh_agent_crew.providers.protocol import ProviderKind

# What an organization gets for these names until it says otherwise: whichever it has an account for, in this order,
# and the deployment's own model in the end.
BUILT_IN_ALIASES = {
    "fast": (
        "gpt-6-luna",
        "claude-haiku-5-5",
        "gemini-3.8-flash",
        "mistral-small-2603",
        "groq/openai/gpt-oss-120b",
        "openrouter/openai/gpt-6-luna",
        "bedrock/global.anthropic.claude-haiku-5-5",
        "default",
    ),
    "smart": (
        "claude-opus-5-5",
        "gpt-6.1-sol",
        "gemini-4-argon",
        "mistral-large-4",
        "openrouter/anthropic/claude-opus-5.5",
        "bedrock/global.anthropic.claude-opus-5-5",
        "groq/openai/gpt-oss-120b",
        "default",
    ),
}


class _Known(Contract):
    name: ModelName
    kind: ProviderKind
    model: str
    context_tokens: int | None
    max_output_tokens: int
    capabilities: frozenset[Capability]
    prices: Prices
    image_tokens: int = 6_000


class _File(Contract):
    price_version: str
    models: Annotated[tuple[_Known, ...], Field(min_length=1)]


@cache
def built_in() -> dict[str, ModelEntry]:
    """By name; nobody's account is in it yet."""
    text = files("crewmesh_agent_crew.catalogue").joinpath("built_in.json").read_text(encoding="utf-8")
    file = _File.model_validate_json(text)
    return {
        known.name: ModelEntry(
            name=known.name,
            provider=None,
            kind=known.kind,
            model=known.model,
            prices=known.prices,
            price_version=file.price_version,
            source="built-in",
            context_tokens=known.context_tokens,
            max_output_tokens=known.max_output_tokens,
            image_tokens=known.image_tokens,
            capabilities=known.capabilities,
        )
        for known in file.models
    }


@cache
def by_id() -> dict[str, ModelEntry]:
    """By what the model is called at its provider, the provider's own first: what resellers call by the same name."""
    found: dict[str, ModelEntry] = {}
    for entry in sorted(built_in().values(), key=lambda entry: entry.name != entry.model):
        found.setdefault(entry.model, entry)
    return found
