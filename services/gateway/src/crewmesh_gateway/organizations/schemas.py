"""What is asked and told about organizations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field, StringConstraints

from crewmesh_gateway.accounts.fields import Password
from crewmesh_gateway.changes import Change
from crewmesh_gateway.ids import IdText
from crewmesh_gateway.names import Name

Status: TypeAlias = Literal["active", "deleting"]
Residency: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", min_length=2, max_length=40)
]


class NewOrganization(Contract):
    """An organization to be; whoever asks becomes its owner."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Hill and Daughters"}]})

    name: Name


class OrganizationChange(Change):
    """What is to be different; what is left away stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Hill & Daughters", "residency": "eu"}]})
    may_be_null = frozenset({"residency"})

    name: Name | None = None
    residency: Residency | None = Field(
        default=None, description="Where the organization's data is to be kept, as the operator names places; or null."
    )


class Deletion(Contract):
    """Say the organization's name, so that it is the right one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm": "Hill and Daughters"}]})

    confirm: Annotated[str, Field(max_length=200, description="The organization's name, exactly.")]


class Transfer(Contract):
    """Who is to be the owner from now on, and the password of who is it now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user": "usr_0197d1c5e0a87b3c9f6d2e4a8b1c3d5e", "password": "correct horse battery staple"}]
        }
    )

    user: IdText
    password: Password = Field(description="The present owner's password, once more.")


class Organization(Reply):
    id: str
    name: str
    residency: str | None
    plan: str
    status: Status
    delete_after: datetime | None = Field(
        description="When a deleted organization is gone for good; until then it can be restored."
    )
    version: int
    created_at: datetime
    updated_at: datetime


class MyOrganization(Reply):
    """An organization that a person belongs to."""

    id: str
    name: str
    role: str = Field(description="owner, admin, editor, viewer, or the id of a custom role.")
    plan: str
    status: Status
    delete_after: datetime | None
    joined_at: datetime
