"""What callers send and see of logins."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field

from crewmesh_gateway.sessions.models import Begun


class TokenView(Reply):
    """The refresh token is not here: it travels in a cookie that no script can read."""

    access_token: str = Field(description="Send it as Authorization: Bearer …")
    token_type: Literal["Bearer"] = "Bearer"
    expires_at: datetime = Field(description="When the access token is over; POST /v1/auth/refresh gives the next.")
    csrf_token: str = Field(description="Send it as X-CSRF-Token to refresh and logout; also in cookie crewmesh_csrf.")
    organization: str | None = Field(
        description="The organization that the access token is for; null for somebody who belongs to none."
    )


def shown(begun: Begun) -> TokenView:
    return TokenView(
        access_token=begun.access_token,
        expires_at=begun.access_expires_at,
        csrf_token=begun.csrf_token,
        organization=begun.organization,
    )


class SessionView(Reply):
    id: str
    current: bool = Field(description="Whether it is the login of this very request.")
    organization: str | None = Field(description="Where it works at present; null where you belong no more.")
    address: str | None = Field(description="Where it was last refreshed from.")
    agent: str | None = Field(description="The program it was last refreshed by, as that calls itself.")
    created_at: datetime
    last_used_at: datetime = Field(description="When it was last refreshed.")
    expires_at: datetime = Field(description="When it ends unless it is refreshed before.")


class LogoutAll(Contract):
    model_config = ConfigDict(json_schema_extra={"examples": [{"keep_current": True}]})

    keep_current: bool = Field(default=False, description="Whether the login of this request goes on.")


class LoggedOut(Reply):
    ended: int = Field(description="How many logins ended.")


class SwitchOrganization(Contract):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"organization": "org_01981f3a5b6c7d8e9f0a1b2c3d4e5f60"}]}
    )

    organization: str = Field(min_length=1, max_length=100, pattern=r"^org_[0-9A-Za-z]+$")
