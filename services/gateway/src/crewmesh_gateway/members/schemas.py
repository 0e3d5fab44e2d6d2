"""What is asked and told about members."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field

from crewmesh_gateway.ids import IdText


class MemberChange(Contract):
    """The role that a member is to have from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "editor"}]})

    role: IdText


class Member(Reply):
    """Somebody who belongs to the organization."""

    id: str
    name: str
    email: str | None
    role: str = Field(description="owner, admin, editor, viewer, or the id of a custom role.")
    teams: tuple[str, ...]
    second_factor: bool = Field(description="Whether logging in takes more than a password.")
    joined_at: datetime
