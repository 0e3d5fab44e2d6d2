"""Holding an organization still while something about it is decided."""

from __future__ import annotations

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.organizations import repository
from crewmesh_gateway.organizations.errors import OrganizationDeleting, OrganizationGone
from crewmesh_gateway.organizations.schemas import Organization


async def held(conn: AsyncConnection[DictRow], organization: str) -> Organization:
    """The organization, locked until the transaction ends, whatever its state."""
    found = await repository.get(conn, organization, lock=True)
    if found is None:
        raise OrganizationGone
    return found


async def active(conn: AsyncConnection[DictRow], organization: str) -> Organization:
    """The organization, locked; refused when it is deleted."""
    found = await held(conn, organization)
    if found.status == "deleting":
        raise OrganizationDeleting(found.delete_after)
    return found
