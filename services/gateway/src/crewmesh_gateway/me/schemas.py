"""What ``GET /v1/me`` shows."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from crewmesh_contracts.base import Reply


class OrganizationView(Reply):
    id: str
    name: str


class UserView(Reply):
    id: str
    name: str
    role: Literal["owner", "admin", "editor", "viewer"]


class KeyView(Reply):
    id: str
    name: str
    prefix: str
    permissions: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class Me(Reply):
    """The organization, the person and the key that a request acts as."""

    organization: OrganizationView
    user: UserView
    key: KeyView
