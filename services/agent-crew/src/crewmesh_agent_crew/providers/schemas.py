"""Accounts at providers as the API tells them. Keys come in and never go out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.ids import Slug
from pydantic import ConfigDict, Field, SecretStr, StringConstraints, field_validator

from crewmesh_agent_crew.providers.protocol import FailureKind, ProviderKind

_LONGEST_KEY = 4_096
_Limit = Annotated[int, Field(ge=1, le=1_000_000_000)]
_SecretName = Annotated[str, StringConstraints(pattern=r"^model-[a-z0-9-]{1,100}$")]


class ProviderSettings(Contract):
    """An account at a provider of models. Without ``base_url`` it leads to where the provider's own API is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "anthropic", "key": "sk-ant-…"},
                {"kind": "openai-compatible", "base_url": "https://models.example.com/v1", "most_at_once": 8},
                {"kind": "bedrock", "options": {"region": "eu-central-1", "access_key_id": "AKIA…"}, "key": "…"},
                {"kind": "azure", "base_url": "https://ours.openai.azure.com", "key": "…"},
            ]
        }
    )

    kind: ProviderKind = Field(description="Whose it is, and which protocol is spoken with it.")
    base_url: Annotated[str, Field(min_length=1, max_length=2_000)] | None = Field(
        default=None, description="Where its API is. Needed for azure and openai-compatible."
    )
    key: SecretStr | None = Field(
        default=None,
        description="The key. Kept sealed and never shown again. Left out of a change, it stays as it is; empty, it is"
        " removed.",
    )
    key_secret: _SecretName | None = Field(
        default=None, description="Instead of a key: a secret that the operator gave for this base URL."
    )
    options: dict[str, JsonValue] = Field(
        default={},
        description="What the kind needs beside. azure: api_version; bedrock: region, access_key_id; ollama: num_ctx;"
        " openai: organization; openai-compatible: token_limit_parameter.",
    )
    most_at_once: _Limit | None = Field(default=None, description="Most calls at the same time.")
    requests_per_minute: _Limit | None = Field(default=None, description="Most calls in a minute.")
    tokens_per_minute: _Limit | None = Field(default=None, description="Most tokens in a minute, both ways.")

    @field_validator("key")
    @classmethod
    def _can_be_sent(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        text = key.get_secret_value().strip()
        if len(text) > _LONGEST_KEY or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError(f"a key is up to {_LONGEST_KEY} printable ASCII characters without spaces")
        return SecretStr(text)


class NewProvider(ProviderSettings):
    """The same with the name that models refer to it by."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "anthropic", "kind": "anthropic", "key": "sk-ant-…"}]}
    )

    name: Slug = Field(description="How the organization calls the account. It stays so.")


class ProviderKey(Reply):
    """What of a key is shown."""

    reference: str = Field(description="Where it is kept.")
    ends_in: str = Field(description="Its last characters, to tell it from others; of a short key none.")
    set_at: datetime


class Provider(Reply):
    """An account. ``deployment``: it is the operator's and the same for all organizations; it cannot be changed."""

    id: str
    name: str
    kind: ProviderKind
    managed_by: Literal["organization", "deployment"] = "organization"
    base_url: str | None = None
    key: ProviderKey | None = None
    key_secret: str | None = None
    options: JsonObject = {}
    most_at_once: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    version: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ProviderTrouble(Reply):
    """Why the account does not work, and what helps."""

    kind: FailureKind
    detail: str
    advice: str


class ProviderTest(Reply):
    """What came of asking the provider which models it has."""

    ok: bool
    latency_ms: float
    models: tuple[str, ...] = Field(default=(), description="Up to 500 of them, by the provider's own names.")
    models_found: int = 0
    trouble: ProviderTrouble | None = None
