"""A new organization, in the caller's transaction: by signing up, or beside those that one has."""

from __future__ import annotations

from crewmesh_contracts.events import OrganizationCreated
from crewmesh_kit import audit
from crewmesh_kit.db import outbox
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.audit import personal
from crewmesh_gateway.organizations import repository


async def found(conn: AsyncConnection[DictRow], *, name: str, owner: str) -> str:
    """The new organization's id. ``conn`` sees everything, for the organization is not there yet; ``owner`` is."""
    organization = new_id("org")
    await repository.add(conn, organization, name, owner=owner)
    # The other services give it its starting content.
    await outbox.add(conn, OrganizationCreated(organization=organization, name=name))
    founder = personal.person(owner, organization)
    await audit.record(conn, founder, "organization.created", organization, after={"name": name, "owner": owner})
    return organization
