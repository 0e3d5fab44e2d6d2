"""The models of the deployment's own server, which everybody may ask: what the settings say of them."""

from __future__ import annotations

import hashlib

from crewmesh_agent_crew.catalogue.built_in import by_id
from crewmesh_agent_crew.catalogue.models import EVERYTHING, FREE, Capability, ModelEntry, Prices
from crewmesh_agent_crew.providers.accounts import DEPLOYMENT
from crewmesh_agent_crew.settings import EMBEDDED_MODEL, ModelSettings

DEFAULT = "default"
# Some five seconds of its writing.
_TOKENS_OF_THE_EMBEDDED = 256
# It sees nothing. Its server writes down tools for it, and forces it to use one where it uses any.
_OF_THE_EMBEDDED: frozenset[Capability] = frozenset({"json_schema", "streaming", "tools"})


def deployment_models(settings: ModelSettings) -> dict[str, ModelEntry]:
    names = dict.fromkeys((settings.name, *settings.aliases.values()))
    return {name: _entry(name, settings) for name in names}


def deployment_aliases(settings: ModelSettings) -> dict[str, tuple[str, ...]]:
    return {DEFAULT: (settings.name,), **{alias: (name,) for alias, name in settings.aliases.items()}}


def _entry(name: str, settings: ModelSettings) -> ModelEntry:
    known = by_id().get(name)
    prices, price_version = _priced(name, settings, known)
    limit = settings.max_tokens or (_TOKENS_OF_THE_EMBEDDED if name == EMBEDDED_MODEL else None)
    return ModelEntry(
        name=name,
        provider=DEPLOYMENT,
        kind="openai-compatible",
        model=name,
        prices=prices,
        price_version=price_version,
        source="deployment",
        context_tokens=settings.context_tokens or (known.context_tokens if known else None),
        max_output_tokens=known.max_output_tokens if known else None,
        temperature=settings.temperature,
        capabilities=_capabilities(name, settings, known),
        **({} if limit is None else {"usual_max_tokens": limit}),
    )


def _priced(name: str, settings: ModelSettings, known: ModelEntry | None) -> tuple[Prices, str]:
    """As the settings say, or else as a model of that name costs everywhere. What nobody sells costs nothing."""
    said = settings.prices.get(name)
    if said is not None:
        return said, f"deployment {hashlib.sha256(said.model_dump_json().encode()).hexdigest()[:8]}"
    return (known.prices, known.price_version) if known else (FREE, "free")


def _capabilities(name: str, settings: ModelSettings, known: ModelEntry | None) -> frozenset[Capability]:
    if settings.capabilities is not None:
        return settings.capabilities
    if name == EMBEDDED_MODEL:
        return _OF_THE_EMBEDDED
    return known.capabilities if known else EVERYTHING
