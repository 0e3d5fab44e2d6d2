"""What is asked and told about API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, Reply
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field

from crewmesh_gateway.ids import IdText
from crewmesh_gateway.names import Name
from crewmesh_gateway.roles.schemas import PermissionNames

_LONGEST_LIFE = timedelta(days=3660)
MOST_OVERLAP_SECONDS = 7 * 24 * 3600

Status: TypeAlias = Literal["active", "ending", "expired", "revoked"]


def _lies_ahead(moment: datetime) -> datetime:
    if not timedelta(0) < moment - datetime.now(UTC) < _LONGEST_LIFE:
        raise ValueError("must lie in the future, at most ten years from now")
    return moment


Expiry: TypeAlias = Annotated[AwareDatetime, AfterValidator(_lies_ahead)]


class NewApiKey(Contract):
    """A key for whoever asks, or for a service account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Nightly import",
                    "scopes": ["knowledge:read", "knowledge:write"],
                    "expires_at": "2027-06-30T00:00:00Z",
                }
            ]
        }
    )

    name: Name
    scopes: PermissionNames = Field(
        description="What the key is for: permissions that you hold, and that whoever it acts for holds."
    )
    expires_at: Expiry | None = Field(default=None, description="When the key ends by itself; null: never.")
    service_account: IdText | None = Field(
        default=None, description="The service account that the key acts for; null: it acts for you."
    )


class ApiKeyChange(Contract):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Hourly import"}]})

    name: Name


class Rotation(Contract):
    """How the key goes over into its successor."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 86400}]})

    overlap_seconds: Annotated[
        int,
        Field(ge=0, le=MOST_OVERLAP_SECONDS, description="How long the old key stays good beside the new one."),
    ] = 3600
    expires_at: Expiry | None = Field(
        default=None, description="When the new key ends by itself; null: it lasts as long as the old one was made for."
    )


class ApiKey(Reply):
    """An API key, without its secret."""

    id: str
    name: str
    prefix: str = Field(description="What the key's text begins with, after cm_live_.")
    scopes: tuple[str, ...] = Field(description='["*"] is everything that whoever it acts for may do.')
    user: str | None = Field(description="The member whom the key acts for.")
    service_account: str | None = Field(description="The service account that the key acts for.")
    created_by: str | None = Field(description="Who made it: a user or a key. Null: the installation itself.")
    rotated_from: str | None = Field(description="The key that this one took over from.")
    status: Status = Field(description="ending: good until revoked_at, because it was rotated.")
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    version: int


class ShownApiKey(ApiKey):
    """A new API key with its secret, which is shown here and never again."""

    key: str = Field(description="The whole key. Keep it now: it is not stored and cannot be shown again.")
