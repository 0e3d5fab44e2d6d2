"""``python -m crewmesh_tools.model_prices`` writes the built-in catalogue of models from the package genai-prices.

The package itself is no part of a service: loading it takes 70 MB and most of a second, for a thousand models of which
a few are worth offering. Which those are, what each can and how much it writes is decided here; prices and context come
from the package. Its version and the day are the version of the prices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import version
from pathlib import Path

from crewmesh_contracts.base import JsonObject
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

TARGET = Path(__file__).parents[3] / "services/agent-crew/src/crewmesh_agent_crew/catalogue/built_in.json"

_ALL = ("images", "json_schema", "streaming", "tools")
_NO_IMAGES = ("json_schema", "streaming", "tools")
_BILLIONTH = Decimal(1).scaleb(-9)


@dataclass(frozen=True)
class _Group:
    """Models of one provider that write equally much. ``source``: the package's name of the provider.

    ``prefix`` keeps apart the names of models that several providers serve.
    """

    kind: str
    source: str
    output: int
    models: tuple[str, ...]
    can: tuple[str, ...] = _ALL
    prefix: str = ""
    context: int | None = None
    image_tokens: int | None = None


_GROUPS = (
    _Group("anthropic", "anthropic", 64_000, (
        "claude-fable-5-2", "claude-haiku-4-5", "claude-haiku-5-5", "claude-opus-4-5", "claude-opus-4-6",
        "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5", "claude-sonnet-4-5",
        "claude-sonnet-4-6", "claude-sonnet-5", "claude-sonnet-5-5",
    )),
    _Group("openai", "openai", 128_000, (
        "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.5",
        "gpt-5.6-luna", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-6-astra", "gpt-6-luna", "gpt-6-sol", "gpt-6.1-sol",
        "gpt-6.1-terra",
    )),
    _Group("openai", "openai", 100_000, ("o3", "o4-mini")),
    _Group("openai", "openai", 32_768, ("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano")),
    _Group("openai", "openai", 16_384, ("gpt-4o",)),
    # Its images count as many tokens, so that they cost what those of gpt-4o do.
    _Group("openai", "openai", 16_384, ("gpt-4o-mini",), image_tokens=50_000),
    _Group("google", "google", 65_536, (
        "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3.1-flash-lite", "gemini-3.5-flash",
        "gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash", "gemini-4-argon",
    )),
    _Group("google", "google", 65_536, ("gemini-2.5-pro",), context=1_048_576),
    _Group("mistral", "mistral", 32_768, (
        "codestral-2508", "ministral-8b-2512", "mistral-large-2512", "mistral-large-4", "mistral-medium-3-5",
        "mistral-small-2603",
    ), can=_NO_IMAGES),
    _Group("groq", "groq", 32_768, (
        "llama-3.1-8b-instant", "llama-3.3-70b-versatile", "openai/gpt-oss-120b", "openai/gpt-oss-20b",
        "qwen/qwen3.8-27b",
    ), can=_NO_IMAGES, prefix="groq/"),
    _Group("bedrock", "aws", 5_000, (
        "amazon.nova-lite-v1:0", "amazon.nova-micro-v1:0", "amazon.nova-pro-v1:0",
    ), can=("streaming", "tools"), prefix="bedrock/"),
    _Group("bedrock", "aws", 64_000, (
        "global.anthropic.claude-haiku-5-5", "global.anthropic.claude-opus-5-5", "global.anthropic.claude-sonnet-5-5",
    ), can=("images", "streaming", "tools"), prefix="bedrock/"),
    _Group("openrouter", "openrouter", 32_768, (
        "anthropic/claude-haiku-5.5", "anthropic/claude-opus-5.5", "anthropic/claude-sonnet-5.5",
        "google/gemini-3.8-flash", "openai/gpt-6-luna", "openai/gpt-6.1-sol",
    ), prefix="openrouter/"),
    _Group("openrouter", "openrouter", 32_768, (
        "deepseek/deepseek-v4.1-flash", "moonshotai/kimi-k3", "qwen/qwen3.8-flash", "x-ai/grok-4.7", "z-ai/glm-5.3",
    ), can=_NO_IMAGES, prefix="openrouter/"),
)  # fmt: skip


def text(day: date) -> str:
    """The file as it is committed, with the prices of that day: one model a line, so that a change can be read."""
    noon = datetime.combine(day, time(12), UTC)
    entries = [entry for group in _GROUPS for entry in _entries(group, noon)]
    joined = ",\n".join(sorted(f"    {json.dumps(entry)}" for entry in entries))
    price_version = json.dumps(f"genai-prices {version('genai-prices')} of {day}")
    return f'{{\n  "price_version": {price_version},\n  "models": [\n{joined}\n  ]\n}}\n'


def _entries(group: _Group, now: datetime) -> Iterator[JsonObject]:
    source = next(provider for provider in providers if provider.id == group.source)
    known = {model.id: model for model in source.models}
    for name in group.models:
        model = known[name]
        entry: JsonObject = {
            "name": f"{group.prefix}{name}",
            "kind": group.kind,
            "model": name,
            "context_tokens": group.context or model.context_window,
            "max_output_tokens": group.output,
            "capabilities": [*group.can],
            "prices": _prices(model, now),
        }
        if group.image_tokens is not None:
            entry["image_tokens"] = group.image_tokens
        yield entry


def _prices(model: ModelInfo, now: datetime) -> JsonObject:
    price = model.get_prices(now)
    starts = {tier.start for rate in _rates(price).values() if isinstance(rate, TieredPrices) for tier in rate.tiers}
    prices = _rates_at(price, 0)
    if starts:
        # Of several thresholds the first counts, with what is dearest: too much is reserved, and never too little.
        prices["long"] = {"beyond": min(starts), **_rates_at(price, max(starts))}
    return prices


def _rates(price: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    rates = {
        "input": price.input_mtok,
        "output": price.output_mtok,
        "cached": price.cache_read_mtok,
        "written": price.cache_write_mtok,
    }
    return {name: rate for name, rate in rates.items() if rate is not None}


def _rates_at(price: ModelPrice, tokens: int) -> JsonObject:
    return {name: _text(_at(rate, tokens)) for name, rate in _rates(price).items()}


def _at(rate: Decimal | TieredPrices, tokens: int) -> Decimal:
    if isinstance(rate, Decimal):
        return rate
    reached = [tier.price for tier in rate.tiers if tier.start <= tokens]
    return reached[-1] if reached else rate.base


def _text(price: Decimal) -> str:
    return format(price.quantize(_BILLIONTH, rounding=ROUND_CEILING).normalize(), "f")


if __name__ == "__main__":
    TARGET.write_text(text(datetime.now(UTC).date()), encoding="utf-8")
