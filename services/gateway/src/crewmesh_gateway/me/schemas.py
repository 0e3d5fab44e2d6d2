"""What ``GET /v1/me`` shows."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Reply
from pydantic import Field


class OrganizationView(Reply):
    id: str
    name: str


class UserView(Reply):
    id: str
    name: str
    email: str | None
    email_verified: bool


class ServiceAccountView(Reply):
    id: str
    name: str


class KeyView(Reply):
    id: str
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class Me(Reply):
    """What a request acts as: the person or service account, the organization, and the key where it came with one."""

    organization: OrganizationView | None = Field(description="None while the person belongs to none.")
    user: UserView | None = Field(description="Nobody when the key belongs to a service account.")
    service_account: ServiceAccountView | None = Field(description="The one that the key acts for, if it does for one.")
    key: KeyView | None = Field(description="None when the request came with an access token.")
    role: str | None = Field(
        description="owner, admin, editor, viewer, or the id of a custom role; none without an organization."
    )
    permissions: list[str]
    teams: list[str]
