"""What the gateway can be told, beyond what every service can."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from crewmesh_kit.settings import CommaSeparated, PublicUrl, ServiceSettings, SettingsGroup
from pydantic import Field, SecretStr, field_validator

from crewmesh_gateway.limits.plans import PlanName


class KeySettings(SettingsGroup):
    cache_seconds: float = Field(
        default=10.0,
        ge=0,
        le=300,
        description="How long a verified API key or access token is trusted without asking the database. What is "
        "revoked ends at once; only while Valkey is away it works as long at other replicas.",
    )
    remembered: int = Field(
        default=10_000, ge=10, le=1_000_000, description="Most API keys and access tokens kept in memory."
    )
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
    absence_seconds: float = Field(
        default=25.0,
        ge=0,
        le=300,
        description="How long a service that cannot be reached is waited for, since it was first missed. Less than the "
        "20 s for which a sidecar remembers addresses lets requests fail whose service another replica could answer.",
    )


class TokenSettings(SettingsGroup):
    access_seconds: int = Field(
        default=600, ge=10, le=600, description="How long an access token is good; then the next one is fetched."
    )
    refresh_days: float = Field(default=30.0, gt=0, le=365, description="A login that nobody uses for so long ends.")
    longest_days: float = Field(
        default=90.0, gt=0, le=365, description="A login ends so long after it began, however much it is used."
    )
    most_logins: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Most logins of one person at a time; the least used one ends for another.",
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

    @field_validator("origins")
    @classmethod
    def _as_browsers_send_them(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^\s/?#*]+", origin):
                raise ValueError(
                    f"{origin!r} is no origin; write it like https://console.example or http://localhost:5173"
                )
        return origins


class MailSettings(SettingsGroup):
    host: str | None = Field(
        default=None, max_length=255, description="SMTP server that mails are handed to. Unset: the outbox is used."
    )
    port: int = Field(default=587, ge=1, le=65_535, description="Port of the SMTP server.")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the way to the SMTP server is encrypted: tls from the first byte on."
    )
    user: str | None = Field(default=None, max_length=255, description="Name to log in to the SMTP server with.")
    password: SecretStr | None = Field(default=None, description="Password to log in to the SMTP server with.")
    sender: str = Field(
        default="Crewmesh <no-reply@localhost>",
        max_length=300,
        pattern=r"^[^\x00-\x1f<>@]*<?[^\s<>@]+@[^\s<>@]+>?$",
        description="Whom mails come from, as Name <address>.",
    )
    outbox: Path | None = Field(
        default=None, description="Folder for mails, one .eml file each, where there is no SMTP server."
    )
    timeout_seconds: float = Field(
        default=20.0, gt=0, le=300, description="How long each step of talking to the SMTP server may take."
    )
    attempts: int = Field(default=60, ge=1, le=1000, description="How often a mail is tried before it is given up.")
    first_pause_seconds: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="Pause after a first failed attempt; it doubles with each, up to half an hour.",
    )


class PasswordSettings(SettingsGroup):
    memory_kib: int = Field(
        default=19_456, ge=64, le=1_048_576, description="Memory that hashing a password takes (argon2id)."
    )
    passes: int = Field(default=2, ge=1, le=20, description="How often hashing a password goes over its memory.")
    at_once: int = Field(default=2, ge=1, le=64, description="Most passwords hashed at once by one replica.")
    waiting: int = Field(
        default=100, ge=0, le=10_000, description="Most requests that wait for a password to be hashed; others get 503."
    )


class AccountSettings(SettingsGroup):
    signup: Literal["open", "invited", "closed"] | None = Field(
        default=None,
        description="Who may sign up: everybody, who was invited, nobody. Unset: open in development, else invited.",
    )
    verify_hours: float = Field(
        default=48.0, gt=0, le=720, description="How long the link that proves a new address is good."
    )
    reset_minutes: float = Field(
        default=60.0, gt=0, le=1440, description="How long the link that lets set a new password is good."
    )
    second_factor_minutes: float = Field(
        default=10.0, gt=0, le=60, description="How long the second factor may be shown after the password was."
    )
    failures: int = Field(
        default=10, ge=2, le=10_000, description="Wrong passwords that an address, or one for an account, may try."
    )
    failures_per_hour: float = Field(
        default=60.0, gt=0, le=100_000, description="Further wrong passwords that it may try each hour."
    )
    mails_per_hour: float = Field(
        default=4.0, gt=0, le=1000, description="Mails an hour that strangers can have sent to one address."
    )


class LimitSettings(SettingsGroup):
    default_plan: PlanName = Field(
        default="enterprise",
        description="Plan of organizations that have none: free, pro, team or enterprise (docs/guides/limits.md).",
    )
    address_per_minute: int = Field(
        default=60_000,
        ge=1,
        le=10_000_000,
        description="Requests a minute that an address may send without being signed in: logins, webhooks, links.",
    )
    address_per_second: int = Field(
        default=2_000, ge=1, le=1_000_000, description="The same within a second of that minute."
    )
    exchange_seconds: float = Field(
        default=0.1, ge=0.01, le=10, description="How often replicas tell each other what they counted."
    )
    remembered: int = Field(
        default=20_000,
        ge=10,
        le=1_000_000,
        description="Most organizations, most credentials and most addresses whose requests are kept count of.",
    )
    answer_seconds: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="How long the gateway itself may take until its answer begins, the arrival of the body included.",
    )


class OrganizationSettings(SettingsGroup):
    grace_days: float = Field(
        default=14.0, gt=0, le=365, description="How long a deleted organization can be restored before it is gone."
    )
    erase_every_seconds: float = Field(
        default=300.0, ge=0.05, le=86_400, description="How often organizations whose time of grace is over are erased."
    )
    most_owned: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="Most organizations that one person may own. 0: nobody founds one, other than by signing up.",
    )


class InvitationSettings(SettingsGroup):
    days: float = Field(default=7.0, gt=0, le=90, description="How long an invitation can be accepted.")
    resend_seconds: float = Field(
        default=60.0, ge=0, le=86_400, description="Pause between two invitation mails to the same address."
    )
    mails_per_hour: float = Field(
        default=100.0, gt=0, le=100_000, description="Invitation mails an hour that one organization may have sent."
    )


class AuditSettings(SettingsGroup):
    keep_days: int = Field(
        default=730, ge=1, le=36_500, description="How long a line of the audit log is kept; the rest stays verifiable."
    )
    denied_window_seconds: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="After a refusal is told, equal ones are counted for as long, and then told by one line.",
    )


class FirstRunSettings(SettingsGroup):
    organization: str = Field(
        default="My organization", min_length=1, max_length=200, description="Name of the first organization."
    )
    owner: str = Field(default="Owner", min_length=1, max_length=200, description="Name of the first user, its owner.")


class ExportSettings(SettingsGroup):
    keep_days: float = Field(
        default=7.0, gt=0, le=365, description="How long the file of an export is kept after it is done."
    )
    poll_seconds: float = Field(
        default=15.0, gt=0, le=3600, description="How often exports are looked for that another replica left behind."
    )


class OpenApiSettings(SettingsGroup):
    cache_seconds: float = Field(
        default=30.0, ge=0, le=3600, description="How long a service's part of the API description is kept."
    )
    fetch_seconds: float = Field(
        default=3.0, gt=0, le=60, description="How long a service may take to give its part of the API description."
    )


class EdgeSettings(SettingsGroup):
    token: SecretStr = Field(
        default=SecretStr(""),
        description="Token with which the edge says where a request came from that passes no sidecar (streams). Empty: "
        "such a request comes from the edge's own address.",
    )


class Settings(ServiceSettings):
    """Settings of the gateway."""

    public_url: PublicUrl = Field(
        default="",
        description="Where people reach Crewmesh, such as https://crewmesh.example.org: links in mails begin with it, "
        "the description of the API names it, and its pages may use logins. Empty: pages of this machine (localhost) "
        "may.",
    )
    keys: KeySettings = KeySettings()
    throttle: ThrottleSettings = ThrottleSettings()
    tokens: TokenSettings = TokenSettings()
    mail: MailSettings = MailSettings()
    passwords: PasswordSettings = PasswordSettings()
    accounts: AccountSettings = AccountSettings()
    edge: EdgeSettings = EdgeSettings()
    proxy: ProxySettings = ProxySettings()
    limits: LimitSettings = LimitSettings()
    organizations: OrganizationSettings = OrganizationSettings()
    invitations: InvitationSettings = InvitationSettings()
    exports: ExportSettings = ExportSettings()
    audit: AuditSettings = AuditSettings()
    first_run: FirstRunSettings = FirstRunSettings()
    openapi: OpenApiSettings = OpenApiSettings()

    @property
    def links_url(self) -> str:
        """What links in mails begin with; on somebody's own machine, where this service itself listens."""
        return self.public_url.rstrip("/") or f"http://localhost:{self.http.port}"
