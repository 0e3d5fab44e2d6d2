"""What the agent-crew service can be told, beyond what every service can."""

from __future__ import annotations

from typing import Literal

from crewmesh_kit.settings import ServiceSettings, SettingsGroup
from pydantic import Field, SecretStr


class ModelSettings(SettingsGroup):
    """Any server that speaks OpenAI's chat completions; by default the embedded model."""

    url: str = Field(
        default="http://127.0.0.1:8090/v1",
        pattern=r"^https?://[^\s]+$",
        max_length=2_000,
        description="Base URL of an OpenAI-compatible API.",
    )
    name: str = Field(
        default="smollm2-135m-instruct", min_length=1, max_length=200, description="Model to ask for at that URL."
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key for that URL. Unset: the secret model-api-key of the secret store is used."
    )
    aliases: dict[str, str] = Field(
        default={},
        description="More models at that URL, by the name workflows ask for: fast → gpt-5-mini. As a JSON object.",
    )
    max_tokens: int = Field(default=120, ge=1, le=100_000, description="Most tokens in one answer of an agent.")
    token_limit_parameter: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="How the server calls the token limit; newer OpenAI models want the latter."
    )
    temperature: float = Field(default=0.2, ge=0, le=2, description="How freely the model chooses its words.")
    timeout_seconds: float = Field(
        default=180.0, gt=0, le=3_600, description="How long one model call may take, all attempts included."
    )
    attempts: int = Field(
        default=5, ge=1, le=20, description="How often a call is tried while the model server is busy or away."
    )
    backoff_seconds: float = Field(
        default=0.5, gt=0, le=60, description="Wait before the second attempt; it doubles from there."
    )


class KickoffSettings(SettingsGroup):
    most_running: int = Field(default=4, ge=1, le=64, description="Crews at work at the same time; one thread each.")
    most_waiting: int = Field(
        default=200, ge=0, le=10_000, description="Kickoffs that may wait for a place; more are answered with 503."
    )
    timeout_seconds: float = Field(
        default=600.0, gt=0, le=3_600, description="How long a crew may work once it has a place."
    )


class Settings(ServiceSettings):
    """Settings of the agent-crew service."""

    model: ModelSettings = ModelSettings()
    kickoff: KickoffSettings = KickoffSettings()
