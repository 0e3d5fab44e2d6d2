"""What is asked and told about invitations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field, StringConstraints

from crewmesh_gateway.accounts.fields import EmailAddress
from crewmesh_gateway.ids import IdText

InvitationStatus: TypeAlias = Literal["open", "expired", "accepted", "revoked"]


class NewInvitation(Contract):
    """Whom to invite, and what they will be when they accept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"email": "ada@example.org", "role": "editor", "teams": ["team_0197d1c5e0a87b3c9f6d2e4a8b1c3d5e"]}
            ]
        }
    )

    email: EmailAddress
    role: IdText = "viewer"
    teams: Annotated[tuple[IdText, ...], Field(max_length=50)] = ()


class InvitationToken(Contract):
    """What the link in the mail ends with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "nYw0mD3v…"}]})

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Invitation(Reply):
    id: str
    email: str
    role: str
    teams: tuple[str, ...]
    status: InvitationStatus
    invited_by: str = Field(description="The member or service account that sent it.")
    created_at: datetime
    sent_at: datetime = Field(description="When its latest mail was sent; only that one's link works.")
    expires_at: datetime
    accepted_at: datetime | None
    accepted_by: str | None


class InvitationShown(Reply):
    """What whoever holds the link may know before logging in."""

    organization: str = Field(description="The name of the organization.")
    invited_by: str | None = Field(description="The name of who sent it, as long as they belong to the organization.")
    email: str = Field(description="The address that was invited; only its owner can accept.")
    status: InvitationStatus
    expires_at: datetime


class Joined(Reply):
    """The organization that one belongs to from now on. Switch to it with POST /v1/auth/organization."""

    organization: str
    name: str
    role: str
