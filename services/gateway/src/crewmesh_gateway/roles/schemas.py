"""What is asked and told about roles and permissions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

from crewmesh_contracts import permissions
from crewmesh_contracts.base import Contract, Reply
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from crewmesh_gateway.changes import Change
from crewmesh_gateway.names import ShortName


def _in_the_catalogue(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(name[:60] for name in names if name not in permissions.BY_NAME)
    if unknown:
        raise ValueError(f"there is no permission {', '.join(unknown[:10])}; GET /v1/permissions lists them")
    return tuple(sorted(set(names)))


def _not_built_in(name: str) -> str:
    if name.casefold() in permissions.BUILT_IN_ROLES:
        raise ValueError("must not be the name of a built-in role")
    return name


PermissionNames: TypeAlias = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=100)], ...],
    Field(min_length=1, max_length=500),
    AfterValidator(_in_the_catalogue),
]
RoleName: TypeAlias = Annotated[ShortName, AfterValidator(_not_built_in)]
About: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]


class NewRole(Contract):
    """A custom role: some of the permissions that its maker holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Approver",
                    "about": "Decides what runs ask, and changes nothing.",
                    "permissions": ["approvals:decide", "approvals:read", "runs:read"],
                }
            ]
        }
    )

    name: RoleName
    about: About = ""
    permissions: PermissionNames


class RoleChange(Change):
    """What is to be different; what is left away stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"permissions": ["approvals:decide", "approvals:read"]}]})

    name: RoleName | None = None
    about: About | None = None
    permissions: PermissionNames | None = None


class Role(Reply):
    id: str = Field(description="The name of a built-in role, or role_… of a custom one.")
    name: str
    about: str
    permissions: tuple[str, ...] = Field(description='["*"] means everything there is.')
    built_in: bool = False
    version: int | None = Field(default=None, description="None for built-in roles, which never change.")
    created_at: datetime | None = None
    updated_at: datetime | None = None


class PermissionView(Reply):
    """Something that one may be allowed to do."""

    name: str
    about: str
    least_role: permissions.BuiltInRole = Field(description="The least built-in role that has it; greater ones do too.")


class Catalogue(Reply):
    """Every permission there is, and the roles that every organization has."""

    permissions: tuple[PermissionView, ...]
    roles: tuple[Role, ...]
