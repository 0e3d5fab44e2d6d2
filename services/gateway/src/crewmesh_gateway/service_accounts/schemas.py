"""What is asked and told about service accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

from crewmesh_contracts.base import Contract, Reply
from pydantic import AfterValidator, ConfigDict, Field

from crewmesh_gateway.changes import Change
from crewmesh_gateway.ids import IdText
from crewmesh_gateway.names import Name


def _no_owner(role: str) -> str:
    if role == "owner":
        raise ValueError("must not be owner: an organization belongs to people; admin is the greatest role here")
    return role


AccountRole: TypeAlias = Annotated[IdText, AfterValidator(_no_owner)]
_ROLE = "admin, editor, viewer, or the id of a custom role; nothing that you may not do yourself."


class NewServiceAccount(Contract):
    """A service account; keys are made for it with POST /v1/api-keys."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Shop backend", "role": "editor"}]})

    name: Name
    role: AccountRole = Field(description=_ROLE)


class ServiceAccountChange(Change):
    """What is to be different; what is left away stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "viewer"}]})

    name: Name | None = None
    role: AccountRole | None = Field(default=None, description=_ROLE)


class ServiceAccount(Reply):
    id: str
    name: str
    role: str = Field(description="admin, editor, viewer, or the id of a custom role.")
    created_by: str
    version: int
    created_at: datetime
    updated_at: datetime
