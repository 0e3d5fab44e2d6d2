"""What somebody may do at this very moment.

A request was let in with what its sender might do when it arrived. What must not happen twice, or not any more, is
decided with the organization's row locked and asks again here.
"""

from __future__ import annotations

from dataclasses import replace

from crewmesh_contracts import permissions
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.members import repository
from crewmesh_gateway.members.errors import NoLongerAllowed
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.roles.grants import permissions_of


async def as_of_now(conn: AsyncConnection[DictRow], principal: Principal, needed: str) -> Principal:
    """The principal with the role of now; refused when ``needed`` is not among what it allows any more."""
    organization = principal.organization
    role = await repository.role_of(conn, organization, principal.identity.acting_for or principal.identity.subject)
    if role is None:
        raise NoLongerAllowed
    # A key never had more than it was made for, and never gets more here.
    allowed = permissions.both(principal.identity.permissions, await permissions_of(conn, organization, role))
    identity = replace(principal.identity, permissions=allowed)
    if not identity.allows(needed):
        raise NoLongerAllowed
    return replace(principal, identity=identity, role=role)
