"""What each kind of account needs: where it leads unless told otherwise, and the options that it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, JsonObject
from pydantic import Field, StringConstraints, ValidationError

from crewmesh_agent_crew.providers.protocol import ProviderKind

_BASE_URLS: Mapping[ProviderKind, str] = {
    "openai": "https://api.openai.com/v1",
    "openai-responses": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "ollama": "http://127.0.0.1:11434",
}
# These have servers of one's own, that may want none.
NEEDS_NO_KEY: frozenset[ProviderKind] = frozenset({"openai-compatible", "ollama"})

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


class _NoOptions(Contract):
    """This kind needs none."""


class _OpenAiOptions(Contract):
    organization: _Name | None = None


class _CompatibleOptions(Contract):
    token_limit_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class _AzureOptions(Contract):
    api_version: _Name | None = None


class _BedrockOptions(Contract):
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", max_length=30)]
    access_key_id: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{16,128}$")] | None = None


class _OllamaOptions(Contract):
    num_ctx: Annotated[int, Field(ge=256, le=10_000_000)] | None = None


_OPTIONS: Mapping[ProviderKind, type[Contract]] = {
    "openai": _OpenAiOptions,
    "openai-responses": _OpenAiOptions,
    "openai-compatible": _CompatibleOptions,
    "azure": _AzureOptions,
    "bedrock": _BedrockOptions,
    "ollama": _OllamaOptions,
}


def checked_options(kind: ProviderKind, options: JsonObject) -> JsonObject:
    """The options as they are kept; ValueError, with places and reasons, for those that the kind does not know."""
    try:
        return _OPTIONS.get(kind, _NoOptions).model_validate(options).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        raise ValueError(
            "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        ) from error


def base_url_of(kind: ProviderKind, options: JsonObject) -> str | None:
    """Where such an account leads unless it says otherwise; nothing when it has to say."""
    if kind == "bedrock":
        return f"https://bedrock-runtime.{options['region']}.amazonaws.com"
    return _BASE_URLS.get(kind)
