"""What the gateway can be told, beyond what every service can."""

from __future__ import annotations

from crewmesh_kit.settings import CommaSeparated, ServiceSettings, SettingsGroup
from pydantic import Field


class KeySettings(SettingsGroup):
    cache_seconds: float = Field(
        default=10.0,
        ge=0,
        le=300,
        description="How long a verified API key is trusted without asking the database; a revoked one works as long.",
    )
    remembered: int = Field(default=10_000, ge=10, le=1_000_000, description="Most API keys kept in memory.")
    last_use_seconds: float = Field(
        default=30.0, ge=0.05, le=3600, description="How often the times of last use are written down, all at once."
    )


class ThrottleSettings(SettingsGroup):
    burst: int = Field(
        default=30, ge=1, le=10_000, description="Wrong API keys an address may try before it has to wait."
    )
    per_second: float = Field(
        default=0.5, gt=0, le=1000, description="Further wrong API keys that an address may try each second."
    )
    addresses: int = Field(default=10_000, ge=10, le=1_000_000, description="Most addresses kept in memory.")


class ProxySettings(SettingsGroup):
    first_byte_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="How long a service may take until its answer begins."
    )
    silence_seconds: float = Field(
        default=75.0,
        gt=0,
        le=3600,
        description="How long a begun answer may pause. Event streams send a heartbeat every 15 s.",
    )


class TokenSettings(SettingsGroup):
    access_seconds: int = Field(
        default=600,
        ge=10,
        le=600,
        description="How long an access token is good; then the login's next one is fetched.",
    )
    refresh_days: float = Field(default=30.0, gt=0, le=365, description="A login that nobody uses for so long ends.")
    longest_days: float = Field(
        default=90.0, gt=0, le=365, description="A login ends so long after it began, however much it is used."
    )
    grace_seconds: float = Field(
        default=10.0,
        ge=0,
        le=60,
        description="How long a refresh token that was used may be used again, by requests that were sent together.",
    )
    rotate_days: float = Field(
        default=30.0, ge=1, le=365, description="How old the key that signs access tokens grows before a new one."
    )
    origins: CommaSeparated = Field(
        default=(),
        description="Web pages that may use the login's cookies beside those of the public URL: https://a.example,…",
    )


class FirstRunSettings(SettingsGroup):
    organization: str = Field(
        default="My organization", min_length=1, max_length=200, description="Name of the first organization."
    )
    owner: str = Field(default="Owner", min_length=1, max_length=200, description="Name of the first user, its owner.")


class OpenApiSettings(SettingsGroup):
    cache_seconds: float = Field(
        default=30.0, ge=0, le=3600, description="How long a service's part of the API description is kept."
    )
    fetch_seconds: float = Field(
        default=3.0, gt=0, le=60, description="How long a service may take to give its part of the API description."
    )
    public_url: str = Field(
        default="/", min_length=1, max_length=500, description="URL under which clients reach the API."
    )


class Settings(ServiceSettings):
    """Settings of the gateway."""

    public_url: str = Field(
        default="",
        max_length=500,
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Where people reach Crewmesh, such as https://crewmesh.example.org: links in mails begin with it, and "
        "its pages may use logins. Empty: pages of this machine (localhost) may.",
    )
    keys: KeySettings = KeySettings()
    throttle: ThrottleSettings = ThrottleSettings()
    tokens: TokenSettings = TokenSettings()
    proxy: ProxySettings = ProxySettings()
    first_run: FirstRunSettings = FirstRunSettings()
    openapi: OpenApiSettings = OpenApiSettings()
